"""The table of docs/networks.md: five architectures, each with every feature."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from PIL import Image

from srgan_lightning.artifacts import own_class
from srgan_lightning.artifacts.load import load_trained
from srgan_lightning.cli.config import config_dir
from srgan_lightning.export import main as export
from srgan_lightning.imaging.picture import Picture
from srgan_lightning.inference.scoring import evaluate
from srgan_lightning.inference.upscaling import TiledUpscaler
from srgan_lightning.networks.contract import run_padded
from srgan_lightning.report import main as report
from srgan_lightning.tools.web.request import UpscaleRequest, run_request
from srgan_lightning.train import train
from srgan_lightning.upscale import main as upscale
from tests.conftest import TINY, TINY_FACES, TINY_SRGAN
from tests.helpers.foreign import save_pth, swinir

pytest.importorskip("spandrel")

OWN = "tests.helpers.own_rrdb.OwnRRDB"


@dataclass
class Network:
    """One row of the table.

    Args:
        options: overrides for training.
        foreign: whether training begins with published weights.
        command: options for commands that use the artifact.
    """

    options: list[str]
    foreign: bool = False
    command: list[str] = field(default_factory=list)


NETWORKS = {
    "paper": Network(["model/generator=paper", "model.generator.channels=8", "model.generator.blocks=1"]),
    "rrdb": Network(["model/generator=rrdb", "model.generator.channels=8", "model.generator.blocks=1"]),
    "compact": Network(["model/generator=compact", "model.generator.channels=8", "model.generator.convolutions=2"]),
    "transformer": Network(["model/generator=spandrel"], foreign=True),
    "own class": Network(
        ["model/generator=own", f"model.generator._target_={OWN}", "+model.generator.channels=6"],
        command=["--architecture", OWN],
    ),
}


@dataclass
class Trained:
    """Return the runs of both stages with one network."""

    network: Network
    first: Path
    second: Path
    resumed: int

    @property
    def artifact(self) -> str:
        return str(self.second / "generator.safetensors")


@pytest.fixture(autouse=True)
def nothing_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_class, "_allowed", set())


@pytest.fixture(scope="module", params=NETWORKS.values(), ids=NETWORKS.keys())
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Train two updates in each stage, then resume the second stage for a third."""
    torch.set_num_threads(1)
    network, folder = request.param, tmp_path_factory.mktemp("network")
    options = [*TINY_FACES, "data.crop=64", "data.num_workers=0", "trainer.val_check_interval=2", *network.options]
    bare = [word for word in TINY if not word.startswith("model.generator.")]
    start = [f"model.init_from={save_pth(folder / 'published.pth', swinir(upscale=4))}"] if network.foreign else []

    def run(name: str, steps: int, *more: str) -> int:
        with initialize_config_dir(version_base="1.3", config_dir=str(config_dir())):
            cfg = compose("train", [f"run_dir={folder / name}", *more, *options, f"trainer.max_steps={steps}"])
        return int(train(cfg)["steps"])

    run("first/0", 2, "experiment=srresnet_celeba", "data=synthetic", *bare, *start)
    second = ["experiment=quickstart", *bare, *(word for word in TINY_SRGAN if "discriminator" in word)]
    second.append(f"model.init_from={folder}/first/0/generator.safetensors")
    run("second/0", 2, *second)
    resumed = run("second/1", 3, *second, "ckpt_path=last")
    return Trained(network, folder / "first/0", folder / "second/0", resumed)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    coarse = np.random.default_rng(1).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    Image.fromarray(coarse).resize((44, 36), Image.Resampling.BICUBIC).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.fixture
def allowed(trained: Trained) -> None:
    own_class.allow_architectures(trained.network.command[1:])


@pytest.mark.slow
def test_both_stages_train_it(trained: Trained, allowed: None) -> None:
    first, second = (load_trained(run / "generator.safetensors") for run in (trained.first, trained.second))
    before, after = first.generator.state_dict(), second.generator.state_dict()
    changed = [name for name in before if before[name].is_floating_point() and not before[name].equal(after[name])]
    assert len(changed) > 5
    assert [trained.metadata["recipe"]["stage"] for trained in (first, second)] == ["SRResNet", "SRGAN"]
    assert json.loads((trained.second / "summary.json").read_text())["psnr_y"] > 0


@pytest.mark.slow
def test_it_resumes(trained: Trained, allowed: None) -> None:
    assert trained.resumed == 3
    checkpoint = load_trained(trained.second / "checkpoints/last.ckpt")
    assert checkpoint.generator.arguments == load_trained(trained.artifact).generator.arguments


@pytest.mark.slow
def test_it_is_evaluated_and_reported(trained: Trained, photo: Path, tmp_path: Path) -> None:
    with initialize_config_dir(version_base="1.3", config_dir=str(config_dir())):
        names = ",".join(trained.network.command[1:])
        words = [
            f"weights=[bicubic,{trained.artifact}]",
            f"hr_dir={photo.parent}",
            "device=cpu",
            f"architecture=[{names}]",
        ]
        cfg = compose("evaluate", words)
    results = evaluate(cfg)["results"]
    assert [result["n"] for result in results] == [1, 1]
    assert results[1]["psnr_y"] not in (results[0]["psnr_y"], 0)
    assert report([str(trained.second), "-o", str(tmp_path / "report")]) == 0


@pytest.mark.slow
def test_its_tiles_give_the_untiled_image(trained: Trained, photo: Path, tmp_path: Path) -> None:
    words = [str(photo), "-o", str(tmp_path / "big"), "--weights", trained.artifact, "--tile", "16", "--device", "cpu"]
    tiled = []
    for options in (["--precision", "32"], ["--overwrite"]):  # then the default, which may be bf16
        assert upscale([*words, *options, *trained.network.command]) == 0
        with Image.open(tmp_path / "big/photo_x4.png") as image:
            tiled.append(np.asarray(image).astype(int))
    generator = load_trained(trained.artifact).generator
    with torch.inference_mode(), Image.open(photo) as image:
        lr = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)[None] / 255
        whole = run_padded(generator, lr)[0].clamp(0, 1).mul(255).permute(1, 2, 0).numpy()
    assert np.abs(tiled[0] - whole).max() < 0.6
    assert np.abs(tiled[1] - whole).max() < 1.5  # one level of 255, and the rounding
    part = TiledUpscaler(generator, 16, overlap=0).upscale(Picture(np.asarray(Image.open(photo)))).colour
    assert np.abs(part - whole).max() > 1  # with less overlap, the images do differ


@pytest.mark.slow
def test_it_is_exported_to_onnx(trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runtime = pytest.importorskip("onnxruntime")
    target = str(tmp_path / "x.onnx")
    words = ["--weights", trained.artifact, "--format", "onnx", "-o", target]
    assert export([*words, *trained.network.command]) == 0, capsys.readouterr().err
    assert ("only accepts single LR images of 64x64 pixels" in capsys.readouterr().out) == trained.network.foreign
    shape = runtime.InferenceSession(target).get_inputs()[0].shape
    fixed = [1, 3, 64, 64]
    assert shape == fixed if trained.network.foreign else [side for side in shape if isinstance(side, int)] == [3]


@pytest.mark.slow
def test_the_page_upscales_with_it(trained: Trained, allowed: None, photo: Path, tmp_path: Path) -> None:
    first, second = Path(trained.artifact), trained.first / "generator.safetensors"
    request = UpscaleRequest(photo, first, second, 0.5)  # blended
    *_, result = run_request(request, torch.device("cpu"), 10**6, tmp_path / "out")
    assert not isinstance(result, float)
    with Image.open(result.sr) as image:
        assert image.size == (176, 144)
