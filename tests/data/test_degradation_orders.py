"""`degradation=faces` and `degradation=real`: LR is a pure function of HR and one number per image."""

from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from srgan_lightning.cli.config import config_dir
from srgan_lightning.data import first_order, second_order
from srgan_lightning.data.degradation import Bicubic
from srgan_lightning.data.first_order import FirstOrder
from srgan_lightning.data.second_order import SecondOrder
from srgan_lightning.data.synthetic.datamodule import SyntheticData
from srgan_lightning.data.synthetic.faces import SyntheticFaces
from srgan_lightning.utils.errors import UserError

CLASSES = {"faces": FirstOrder, "real": SecondOrder}
NAMES = tuple(CLASSES)
BOTH = ("blur_probability=0", "noise_probability=0", "resize=null", "jpeg=null")
OFF = {
    "faces": ["sigma=null", "shrink=null", "noise=null", "jpeg=null"],
    "real": [*(f"{stage}.{off}" for stage in ("first", "second") for off in BOTH), "final_sinc_probability=0"],
}


def build(name: str, *options: str) -> Any:
    changes = [f"{'+' * option.startswith('+')}degradation.{option.lstrip('+')}" for option in options]
    with initialize_config_dir(version_base="1.3", config_dir=str(config_dir())):
        return instantiate(compose("evaluate", [f"degradation={name}", "hr_dir=x", *changes]).degradation)


def pictures(count: int, height: int = 64, width: int = 64) -> Tensor:
    """Return (count, 3, height, width) images, all different."""
    source = SyntheticFaces(count, (height, width))
    return torch.stack([source.read(index) for index in range(count)]) / 255


@settings(max_examples=12, deadline=None)
@given(
    name=st.sampled_from(NAMES),
    size=st.tuples(st.integers(1, 14), st.integers(1, 14)),
    scale=st.sampled_from([1, 2, 4, 8]),
    draw=st.floats(0, 1, exclude_max=True, width=32),
)
def test_lr_of_any_size_is_8_bits_in_range(name: str, size: tuple[int, int], scale: int, draw: float) -> None:
    hr = torch.rand(2, 3, size[0] * scale, size[1] * scale)
    lr = CLASSES[name](scale)(hr, torch.tensor([draw, 0.5]))
    assert lr.shape == (2, 3, *size)
    assert lr.dtype == torch.float32
    assert 0 <= lr.min() <= lr.max() <= 1
    torch.testing.assert_close(lr * 255, (lr * 255).round(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_lr_depends_only_on_hr_and_draw(name: str) -> None:
    """LR does not depend on the rest of the batch, the memory format or the number of calls."""
    degradation, hr, draw = build(name), pictures(8), torch.rand(8)
    state = torch.get_rng_state()
    lr = degradation(hr.contiguous(memory_format=torch.channels_last), draw)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(degradation(hr, draw), lr)
    torch.manual_seed(1)
    for chosen in ([3], [7, 0], [5, 2, 6]):
        # Equal up to rounding: a matrix product of another size may differ in the last bit, and so may a level.
        assert ((degradation(hr[chosen], draw[chosen]) - lr[chosen]).abs() > 1e-6).float().mean() < 1e-3
    changed = degradation(hr, (draw + 0.5) % 1)
    assert all(not torch.equal(a, b) for a, b in zip(lr, changed, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_the_size_of_the_canvas_does_not_change_the_images(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare with kernels on a canvas of the largest possible size, as on a GPU."""
    degradation, hr, draw = build(name), pictures(8), torch.rand(8)
    lr = degradation(hr, draw)
    for module in (first_order, second_order):
        monkeypatch.setattr(module, "canvas_for", lambda sizes, bound: bound)
    assert ((degradation(hr, draw) - lr).abs() > 1e-6).float().mean() < 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_with_every_stage_off_lr_is_the_bicubic_one(name: str) -> None:
    hr, draw = pictures(3), torch.rand(3)
    bicubic = Bicubic(4)(hr, draw)
    assert torch.equal(build(name, "clean_probability=1")(hr, draw), bicubic)
    off = build(name, *OFF[name])(hr, draw)
    if name == "faces":
        assert torch.equal(off, bicubic)
    else:  # resized by a filter that the draw picks
        assert (off - bicubic).abs().mean() < 0.02
    assert build("faces", *OFF["faces"]).describe(draw) == ["bicubic"] * 3


def test_shares_are_the_configured_ones() -> None:
    draw = torch.rand(4000, generator=torch.Generator().manual_seed(0))
    faces = build("faces", "clean_probability=0.2", "blur_probability=0.7", "jpeg_probability=0.4").parameters_of(draw)
    shares = {name: (faces[name] > 0).float().mean().item() for name in ("clean", "blurred", "quality", "noise")}
    assert shares == pytest.approx({"clean": 0.2, "blurred": 0.7, "quality": 0.4, "noise": 1}, abs=0.03)
    assert (faces["angle"] != 0).float().mean().item() == pytest.approx(0.5, abs=0.03)
    assert torch.corrcoef(torch.stack([faces["clean"].float(), faces["sigma"]]))[0, 1].abs() < 0.05
    for name, low, high in (("sigma", 0.1, 10), ("shrink", 0.8, 8), ("noise", 0, 20), ("quality", 60, 100)):
        chosen = faces[name][faces[name] > 0] if name == "quality" else faces[name]
        assert low <= chosen.min() < low + 0.1 * (high - low)
        assert high - 0.1 * (high - low) < chosen.max() <= high
    first, second = (build("real").parameters_of(draw)[stage] for stage in ("first", "second"))
    kinds = torch.bincount(first["kind"], minlength=6) / 4000
    torch.testing.assert_close(kinds, torch.tensor([0.45, 0.25, 0.12, 0.03, 0.12, 0.03]), atol=0.03, rtol=0)
    for stage, up, down, bounds in ((first, 0.2, 0.7, (0.15, 1.5)), (second, 0.3, 0.4, (0.3, 1.2))):
        assert (stage["factor"] > 1).float().mean().item() == pytest.approx(up, abs=0.03)
        assert (stage["factor"] < 1).float().mean().item() == pytest.approx(down, abs=0.03)
        assert bounds[0] <= stage["factor"].min()
        assert stage["factor"].max() <= bounds[1]
        assert ((stage["gaussian"] > 0) != (stage["poisson"] > 0)).all()
        assert (stage["gaussian"] > 0).float().mean().item() == pytest.approx(0.5, abs=0.03)
        assert sorted(stage["side"].unique().tolist()) == [7, 9, 11, 13, 15, 17, 19, 21]
    assert second["blurred"].float().mean().item() == pytest.approx(0.8, abs=0.03)


def test_switching_one_stage_off_leaves_the_others_as_they_were() -> None:
    draw = torch.rand(50)
    all_, some = (
        build("real", *options).parameters_of(draw) for options in ((), ("first.jpeg=null", "first.resize=null"))
    )
    for name in ("sigma", "kind", "gaussian", "poisson"):
        assert torch.equal(all_["first"][name], some["first"][name])
    assert torch.equal(all_["second"]["quality"], some["second"]["quality"])


@pytest.mark.parametrize(
    "option",
    [
        "sigma=[2,1]",
        "sigma=3",
        "kernel=40",
        "shrink=[0,2]",
        "noise=[-1,3]",
        "jpeg=[0,50]",
        "anisotropic=2",
        "clean_probability=-1",
        "first.sigma=null",
        "first.sides=[6,21]",
        "+first.kernels.square=1",
        "+first.jpg=null",
        "second.factor=[2,1]",
        "second.jpeg=[50,101]",
        "second.blur_probability=1.5",
        "second.resize={up:0,down:0,keep:0}",
    ],
)
def test_bad_options_are_refused_by_name(option: str) -> None:
    name = "real" if "." in option.split("=")[0] else "faces"
    with pytest.raises(InstantiationException) as caught:
        build(name, option)
    error = caught.value.__cause__
    assert isinstance(error, UserError)
    assert str(error).startswith(
        f"degradation.{option.lstrip('+').split('=')[0].removesuffix('.square').removesuffix('.jpg')}"
    )


@pytest.mark.parametrize("option", ["sigma", "noise", "first.sigma", "second.factor", "second.jpeg"])
def test_ranges_advise_null_only_where_it_is_accepted(option: str) -> None:
    name = "real" if "." in option else "faces"
    with pytest.raises(InstantiationException) as caught:
        build(name, f"{option}=[-2,-1]")
    advised = str(caught.value.__cause__).endswith(", the lower first, or null.")
    try:
        build(name, f"{option}=null")
    except InstantiationException:
        assert not advised
    else:
        assert advised


@pytest.mark.parametrize("name", NAMES)
def test_a_resumed_loader_gives_the_images_of_one_that_was_not_cut(name: str) -> None:
    def batches(seen: int) -> list[Tensor]:
        data = SyntheticData(8, 1, 64, degradation=build(name), batch_size=2, crop=32, num_workers=0, seed=3)
        data.setup("fit")
        data.load_state_dict({"epoch": 1, "batches_seen": seen})
        return [data.on_after_batch_transfer(batch, 0)["lr"] for batch in data.train_dataloader()]

    whole, rest = batches(0), batches(2)
    assert len(whole) == 4
    assert all(torch.equal(a, b) for a, b in zip(whole[2:], rest, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_the_description_names_the_stages(name: str) -> None:
    texts = build(name, "clean_probability=0.3").describe(torch.rand(60))
    assert {"bicubic"} < set(texts)
    words = " ".join(texts)
    for word in (
        "JPEG",
        "noise",
        *(("blur", "size /") if name == "faces" else ("Poisson", "sinc", "plateau", "to LR")),
    ):
        assert word in words


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", NAMES)
def test_a_gpu_gives_the_same_images(name: str) -> None:
    degradation, hr, draw = build(name), pictures(8), torch.rand(8)
    there = degradation(hr.cuda(), draw.cuda()).cpu()
    assert (there - degradation(hr, draw)).abs().mean() * 255 < 0.1  # TF32 is off
