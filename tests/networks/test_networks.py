"""The networks against the paper's table."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import adaptive_avg_pool2d

from srgan_lightning.imaging.ops import resize_bicubic
from srgan_lightning.networks import Discriminator, Generator
from srgan_lightning.networks.discriminator import GridMean
from srgan_lightning.utils.errors import UserError


def test_generator_has_the_papers_size_and_layers() -> None:
    generator = Generator()
    assert sum(p.numel() for p in generator.parameters()) == pytest.approx(1.55e6, rel=0.01)
    convolutions = [m for m in generator.modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) == 1 + 2 * 16 + 1 + 2 + 1
    assert convolutions[0].kernel_size == convolutions[-1].kernel_size == (9, 9)
    assert sum(isinstance(m, nn.BatchNorm2d) for m in generator.modules()) == 2 * 16 + 1
    assert sum(isinstance(m, nn.PixelShuffle) for m in generator.modules()) == 2


def test_residual_blocks_share_no_weights() -> None:
    generator = Generator(8, 3)
    blocks = list(generator.trunk.children())[:3]
    pointers = {p.data_ptr() for block in blocks for p in block.parameters()}
    assert len(pointers) == sum(1 for block in blocks for _ in block.parameters())


@settings(max_examples=12, deadline=None)
@given(
    scale=st.sampled_from([2, 4, 8]),
    height=st.integers(1, 13),
    width=st.integers(1, 13),
    skip=st.sampled_from(["none", "bicubic"]),
)
def test_generator_takes_any_size(scale: int, height: int, width: int, skip: str) -> None:
    generator = Generator(4, 1, scale, skip).eval()
    assert generator(torch.rand(2, 3, height, width)).shape == (2, 3, scale * height, scale * width)


def test_global_skip_starts_as_bicubic() -> None:
    lr = torch.rand(2, 3, 9, 7)
    torch.testing.assert_close(Generator(8, 1, 4, "bicubic")(lr), resize_bicubic(lr, (36, 28)))


@pytest.mark.parametrize("arguments", [{"scale": 3}, {"global_skip": "nearest"}, {"channels": 0}])
def test_generator_refuses_bad_arguments(arguments: dict[str, object]) -> None:
    with pytest.raises(UserError):
        Generator(**arguments)  # type: ignore[arg-type]


def test_discriminator_has_the_papers_layers() -> None:
    discriminator = Discriminator()
    convolutions = [m for m in discriminator.modules() if isinstance(m, nn.Conv2d)]
    assert [c.out_channels for c in convolutions] == [64, 64, 128, 128, 256, 256, 512, 512]
    assert [c.stride[0] for c in convolutions] == [1, 2, 1, 2, 1, 2, 1, 2]
    assert sum(isinstance(m, nn.BatchNorm2d) for m in discriminator.modules()) == 7
    assert not any(isinstance(m, nn.Sigmoid) for m in discriminator.modules())
    assert [m.out_features for m in discriminator.modules() if isinstance(m, nn.Linear)] == [1024, 1]


@pytest.mark.parametrize("size", [(96, 96), (128, 128), (176, 216), (256, 256), (16, 16)])
def test_discriminator_takes_any_hr_size(size: tuple[int, int]) -> None:
    assert Discriminator(4, hidden=8)(torch.rand(2, 3, *size)).shape == (2, 1)


@pytest.mark.parametrize("size", [(6, 6), (12, 18), (6, 12), (11, 14), (3, 3)])
def test_the_discriminators_pool_is_the_adaptive_one(size: tuple[int, int]) -> None:
    """If the grid divides the size, adaptive pooling is avoided: CUDA's deterministic mode refuses its backward."""
    x = torch.rand(2, 4, *size).contiguous(memory_format=torch.channels_last).requires_grad_()
    pooled = GridMean(6)(x)
    torch.testing.assert_close(pooled, adaptive_avg_pool2d(x, 6))
    divides = size[0] % 6 == size[1] % 6 == 0
    assert (x is pooled) == (size == (6, 6))
    assert divides != (type(pooled.grad_fn).__name__ == "AdaptiveAvgPool2DBackward0")
