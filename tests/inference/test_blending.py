"""Blends of two generators' weights, and upscaling in steps."""

import pytest
import torch

from srgan_lightning.imaging.picture import from_pil
from srgan_lightning.inference.blending import blend
from srgan_lightning.inference.upscaling import TiledUpscaler
from srgan_lightning.utils.errors import UserError
from tests.helpers.generators import tiny_generator
from tests.helpers.pictures import smooth


def test_blend_interpolates_everything() -> None:
    first, second = tiny_generator(), tiny_generator()
    before = {name: tensor.clone() for name, tensor in first.state_dict().items()}
    blended = blend(first, second, 0.25).state_dict()
    others = second.state_dict()
    assert any(name.endswith("running_var") for name in blended)
    for name, tensor in before.items():
        if tensor.is_floating_point():
            torch.testing.assert_close(blended[name], 0.75 * tensor + 0.25 * others[name])
        assert torch.equal(first.state_dict()[name], tensor)
    lr = torch.rand(1, 3, 8, 8)
    for amount, end in ((0, first), (1, second)):
        assert torch.equal(blend(first, second, amount)(lr), end(lr))


def test_blend_refuses() -> None:
    with pytest.raises(UserError, match="blocks is 2 and 3, scale is 4 and 2"):
        blend(tiny_generator(2), tiny_generator(3, scale=2), 0.5)
    with pytest.raises(UserError, match=r"amount=1\.5"):
        blend(tiny_generator(), tiny_generator(), 1.5)


def test_iter_upscale_can_be_stopped() -> None:
    upscaler, picture = TiledUpscaler(tiny_generator(), tile=16), from_pil(smooth(size=(40, 30)))
    steps = list(upscaler.iter_upscale(picture))
    assert steps == [pytest.approx(done / 6) for done in range(1, 7)]
    some = upscaler.iter_upscale(picture)
    assert next(some) == steps[0]
    some.close()
    assert not torch.is_inference_mode_enabled()
