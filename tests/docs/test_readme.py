"""Run every command and snippet of README and docs/ with tiny data and networks, in a folder like a user's."""

import argparse
import importlib
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from PIL import Image
from safetensors.torch import save_file

from srgan_lightning import demo
from srgan_lightning.artifacts.artifact import save_artifact, write_artifact
from srgan_lightning.losses import VGGFeatures
from srgan_lightning.networks import Generator, UNetDiscriminator
from srgan_lightning.networks.spandrel_generator import rrdb
from srgan_lightning.tools.benchmark import run as benchmark_run
from srgan_lightning.tools.benchmark import setup
from tests.conftest import TINY, TINY_SRGAN
from tests.helpers.documents import PAGES, ROOT, blocks, commands
from tests.helpers.foreign import esrgan, save_pth
from tests.helpers.own_rrdb import OwnRRDB

RECIPES = "docs/recipes.md"
Photos = Callable[..., Path]

MODULES = [line for line in commands() if "-m srgan_lightning." in line]
TRAINING = [line for line in MODULES if "srgan_lightning.train" in line]
OTHERS = [line for line in MODULES if line not in TRAINING]
SWEEP = next(line for line in TRAINING if "loss.perceptual=0,0.006" in line)
BENCHMARKS = [line for line in OTHERS if "srgan_lightning.benchmark" in line]


@pytest.fixture
def home(tmp_path: Path, photos: Photos, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a folder with all files that the commands name."""
    for name in ("Set5/HR", "faces", "holiday", "scans"):
        photos(name, 3, (48, 48))
    for name, turns in (("photos/train", 0), ("photos/val", 1)):
        for path in photos(name, 3, (128, 128)).iterdir():
            Image.open(path).rotate(90 * turns).save(path)
    photos("Set5/LR_bicubic_x4", 3, (12, 12))
    for name in ("photo.jpg", "face.jpg"):
        shutil.copy(photos("own", 1, (20, 24)) / "photo0.png", tmp_path / name)
    for path in sorted((tmp_path / "scans").iterdir()):  # two results with the same name would be refused
        path.rename(path.with_name(path.name.replace("photo", "scan")))
    celeba = tmp_path / "data/celeba/img_align_celeba"
    celeba.mkdir(parents=True)
    for number in range(1, 7):
        noise = np.random.default_rng(number).integers(0, 256, (218, 178, 3), dtype=np.uint8)
        Image.fromarray(noise).save(celeba / f"{number:06d}.jpg")
    lines = [f"{number:06d}.jpg {0 if number < 5 else 1}" for number in range(1, 7)]
    (celeba.parent / "list_eval_partition.txt").write_text("\n".join(lines))
    for path in (f"outputs/{name}/RUN" for name in ("srresnet_celeba", "faces_srgan", "mine", "quickstart")):
        (tmp_path / path).mkdir(parents=True)
        skip = "bicubic" if "faces_srgan" in path or "mine" in path else "none"
        save_artifact(tmp_path / path / "generator.safetensors", Generator(8, 1, global_skip=skip), {})
    save_pth(tmp_path / "4x_anything.pth", esrgan())
    (tmp_path / "outputs/faces_srresnet/RUN").mkdir(parents=True)
    save_artifact(tmp_path / "outputs/faces_srresnet/RUN/generator.safetensors", rrdb(4, 8, 1), {})
    (tmp_path / "my_module.py").write_text("from tests.helpers.own_rrdb import OwnRRDB\nclass MyNet(OwnRRDB): pass\n")
    (tmp_path / "outputs/mynet/RUN").mkdir(parents=True)
    own = OwnRRDB()
    write_artifact(
        tmp_path / "outputs/mynet/RUN/generator.safetensors", own.state_dict(), "my_module.MyNet", own.arguments, {}
    )
    metadata = {"format": "srgan-lightning/1", "network": "discriminator"}
    (tmp_path / "models").mkdir()
    shutil.copy(Path(__file__).parents[2] / "models/srgan-faces-x4-discriminator.safetensors", tmp_path / "models")
    path = tmp_path / "outputs/faces_srgan/RUN/discriminator.safetensors"
    save_file(UNetDiscriminator(4).state_dict(), path, metadata)
    layers = VGGFeatures("relu2_2", "random").layers.state_dict()
    save_file({f"features.{name}": tensor for name, tensor in layers.items()}, tmp_path / "vgg19.safetensors")
    for name, code in zip(("charbonnier", "plain"), blocks("python", RECIPES), strict=True):
        (tmp_path / f"{name}.py").write_text(code)
    for name, yaml in zip(("experiment/portraits", "loss/soft"), blocks("yaml", RECIPES), strict=True):
        (tmp_path / f"mine/{name}.yaml").parent.mkdir(parents=True)
        (tmp_path / f"mine/{name}.yaml").write_text(yaml)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("WANDB_MODE", "offline")
    return tmp_path


def run(line: str, extra: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a command line in this process."""
    words = shlex.split(line)
    at = next(i for i, word in enumerate(words) if word.startswith("srgan_lightning."))
    GlobalHydra.instance().clear()
    monkeypatch.setattr(sys, "argv", [words[at], *words[at + 1 :], *extra])
    try:
        code = importlib.import_module(words[at]).main()
    except SystemExit as stop:
        code = stop.code
    assert code in (None, 0) or isinstance(code, float), line


def tiny(line: str) -> list[str]:
    """Return options that shorten a training command to seconds; later options win."""
    srresnet = "srresnet" in line.split("model.init_from")[0]
    options = [*(TINY if srresnet else TINY_SRGAN), "trainer.max_steps=1", "trainer.devices=1", "trainer.num_nodes=1"]
    options += ["trainer.precision=32-true", "loss.vgg.weights=random", "data.crop=32", "seed=1"]
    if any(name in line for name in ("faces_srgan", "esrgan_faces", "finetune", "degradation.probability")):
        options += ["data.crop=64"]  # for the blur
    elif "data=folder" in line or "streaming" in line or "faces_srresnet" in line:
        options += ["degradation=bicubic"]
    elif "celeba" in line:
        options += ["data.size=[64,64]"]
    else:
        options += ["data.train_images=4", "data.val_images=2", "data.size=64"]
    if "init_from=sr" in line or "generator=own" in line or "generator=spandrel" in line:  # these have a fixed size
        options = [option for option in options if not option.startswith("model.generator")]
    if "models/" in line:
        options = [option for option in options if not option.startswith("model.discriminator")]
    if any(name in line for name in ("discriminator=unet", "esrgan_faces", "faces_srgan", "finetune", "portraits")):
        options = [
            option for option in options if not option.startswith(("model.discriminator.grid", "model.discriminator.h"))
        ]
    return options


@pytest.mark.slow
@pytest.mark.parametrize("line", [line for line in TRAINING if "sweep" not in line and line != SWEEP])
def test_training(line: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if line.startswith(("torchrun", "srun")):  # test_distributed.py runs these; here only their options are checked
        line = "python " + line[line.index("-m srgan_lightning") :]
    if "streaming" in line:
        pytest.importorskip("litdata")
        run(next(line for line in OTHERS if "make_shards" in line), [], monkeypatch)
    if "ckpt_path=last" in line:
        run(line.replace("ckpt_path=last", ""), tiny(line), monkeypatch)
        run(line, [*tiny(line), "trainer.max_steps=2"], monkeypatch)
        return
    if "launcher=joblib" in line:
        pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    run(line, tiny(line), monkeypatch)


@pytest.mark.slow
def test_a_sweep_and_its_report(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = next(line for line in OTHERS if ".report multirun" in line)
    run(SWEEP, [*tiny(SWEEP), "hydra.sweep.dir=multirun/quickstart/SWEEP"], monkeypatch)
    run(report, ["--perception", "swd"], monkeypatch)
    assert len(list(Path("multirun/quickstart/SWEEP").glob("*/summary.json"))) == 6
    assert Path("multirun/quickstart/SWEEP/report.png").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("line", [line for line in TRAINING if "sweep=" in line])
def test_optuna(line: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    run(line, [*tiny(line), "hydra.sweeper.n_trials=1"], monkeypatch)


@pytest.mark.slow
def test_a_run_and_its_curves(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train = "python -m srgan_lightning.train experiment=quickstart"
    assert train in TRAINING
    run(train, [*tiny(train), "hydra.run.dir=outputs/quickstart/RUN"], monkeypatch)
    run(next(line for line in OTHERS if ".report outputs" in line), [], monkeypatch)
    assert Path("outputs/quickstart/RUN/curves.png").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("line", [line for line in OTHERS if not re.search(r"\.(report|demo|benchmark)", line)])
def test_others(line: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if "onnx" in line:
        pytest.importorskip("onnxscript")
    if "make_shards" in line:
        pytest.importorskip("litdata")
    run(line, [], monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("line", BENCHMARKS)
def test_benchmarks_compose(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Check only the options; tests/tools/test_benchmark.py runs them."""
    seen = []

    def compose(
        options: argparse.Namespace, parts: object, device: torch.device, root: Path
    ) -> Iterator[tuple[list, list]]:
        seen.append(setup.configure(root, device, [f"experiment={options.experiment}", *options.overrides]))
        yield [], []

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(benchmark_run, "measure", compose)
    run(line.replace("--device cuda", "--device cpu"), [], monkeypatch)
    assert len(seen) == 1


def test_the_web_page_takes_its_options() -> None:
    lines = [line for line in OTHERS if ".demo" in line]
    assert lines
    for line in lines:
        demo.make_parser().parse_args(shlex.split(line)[3:])


@pytest.mark.parametrize("line", [line for line in commands() if line.startswith("make ")])
def test_make_targets(line: str) -> None:
    subprocess.run([*shlex.split(line), "--dry-run"], cwd=ROOT, check=True, capture_output=True)


@pytest.mark.parametrize("page", [page for page in PAGES if page != RECIPES and blocks("python", page)])
def test_the_python_snippets(page: str, home: Path) -> None:
    for snippet in blocks("python", page):
        exec(compile(snippet, page, "exec"), {})
