"""Every command and snippet of README and docs/recipes.md, run: tiny data, tiny networks, in a folder like a user's."""

import importlib
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hydra.core.global_hydra import GlobalHydra
from PIL import Image
from safetensors.torch import save_file

from srgan_lightning.inference.artifact import save_artifact
from srgan_lightning.losses import VGGFeatures
from srgan_lightning.networks import Generator
from tests.conftest import TINY, TINY_SRGAN

ROOT = Path(__file__).resolve().parents[1]
README, RECIPES = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/recipes.md"))
Photos = Callable[..., Path]


def blocks(language: str, text: str = README) -> list[str]:
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)  # in turn, or an end is a start
    return [block for name, block in fenced if name == language]


def commands() -> list[str]:
    """The command lines of all blocks without a language, and those of the table of commands."""
    lines = [
        line.split("  #")[0].strip()
        for block in blocks("", README) + blocks("", RECIPES)
        for line in block.splitlines()
    ]
    return [line for line in lines if line]


MODULES = [line for line in commands() if "-m srgan_lightning." in line]
TRAINING = [line for line in MODULES if "srgan_lightning.train" in line]
OTHERS = [line for line in MODULES if line not in TRAINING]


@pytest.fixture
def home(tmp_path: Path, photos: Photos, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with all that the README takes to be there."""
    for name in ("Set5/HR", "faces", "holiday", "scans"):
        photos(name, 3, (48, 48))
    for name, turns in (("photos/train", 0), ("photos/val", 1)):
        for path in photos(name, 3, (128, 128)).iterdir():
            Image.open(path).rotate(90 * turns).save(path)
    photos("Set5/LR_bicubic_x4", 3, (12, 12))
    for name in ("photo.jpg", "face.jpg"):
        shutil.copy(photos("own", 1, (20, 24)) / "photo0.png", tmp_path / name)
    for path in sorted((tmp_path / "scans").iterdir()):  # two results of one name would be refused
        path.rename(path.with_name(path.name.replace("photo", "scan")))
    celeba = tmp_path / "data/celeba/img_align_celeba"
    celeba.mkdir(parents=True)
    for number in range(1, 7):
        noise = np.random.default_rng(number).integers(0, 256, (218, 178, 3), dtype=np.uint8)
        Image.fromarray(noise).save(celeba / f"{number:06d}.jpg")
    lines = [f"{number:06d}.jpg {0 if number < 5 else 1}" for number in range(1, 7)]
    (celeba.parent / "list_eval_partition.txt").write_text("\n".join(lines))
    for path in ("runs", "outputs/srresnet_celeba/RUN"):
        (tmp_path / path).mkdir(parents=True)
        save_artifact(tmp_path / path / "generator.safetensors", Generator(8, 1), {})
    layers = VGGFeatures("relu2_2", "random").layers.state_dict()
    save_file({f"features.{name}": tensor for name, tensor in layers.items()}, tmp_path / "vgg19.safetensors")
    (tmp_path / "charbonnier.py").write_text(blocks("python")[0])
    for name, yaml in zip(("experiment/portraits", "loss/soft"), blocks("yaml", RECIPES), strict=True):
        (tmp_path / f"mine/{name}.yaml").parent.mkdir(parents=True)
        (tmp_path / f"mine/{name}.yaml").write_text(yaml)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("WANDB_MODE", "offline")
    return tmp_path


def run(line: str, extra: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a command line in this process, by the module that it names."""
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
    """What makes a training command of the README a matter of seconds; later options win."""
    srresnet = "srresnet" in line.split("model.init_from")[0]
    options = [*(TINY if srresnet else TINY_SRGAN), "trainer.max_steps=1", "trainer.devices=1", "trainer.num_nodes=1"]
    options += ["trainer.precision=32-true", "loss.vgg.weights=random", "data.crop=32", "seed=1"]
    if "faces_srgan" in line:
        options += ["data.crop=64"]  # for the blur
    elif "data=folder" in line or "streaming" in line or "faces_srresnet" in line:
        options += ["degradation=bicubic"]
    elif "celeba" in line:
        options += ["data.size=[64,64]"]
    else:
        options += ["data.train_images=4", "data.val_images=2", "data.size=64"]
    if "init_from=srresnet-x4" in line:  # this one in its own size
        options = [option for option in options if not option.startswith("model.generator")]
    return options


@pytest.mark.slow
@pytest.mark.parametrize(
    "line", [line for line in TRAINING if "sweep" not in line and " -m experiment=quickstart loss.adv" not in line]
)
def test_training(line: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if line.startswith(("torchrun", "srun")):  # tests/test_distributed.py starts such; here, that its options hold
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
    sweep, report = (next(line for line in MODULES if word in line) for word in (" -m experiment", ".report multirun"))
    run(sweep, [*tiny(sweep), "hydra.sweep.dir=multirun/quickstart/SWEEP"], monkeypatch)
    run(report, ["--perception", "swd"], monkeypatch)
    assert len(list(Path("multirun/quickstart/SWEEP").glob("*/summary.json"))) == 6
    assert Path("multirun/quickstart/SWEEP/report.png").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("line", [line for line in TRAINING if "sweep=" in line])
def test_optuna(line: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    run(line, [*tiny(line), "hydra.sweeper.n_trials=1"], monkeypatch)


@pytest.mark.parametrize("line", [line for line in OTHERS if ".report" not in line and ".demo" not in line])
def test_others(line: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if "onnx" in line:
        pytest.importorskip("onnxscript")
    if "make_shards" in line:
        pytest.importorskip("litdata")
    run(line, [], monkeypatch)


def test_commands_of_the_table_exist() -> None:
    for name in re.findall(r"`python -m srgan_lightning\.(\w+)", README):
        assert callable(importlib.import_module(f"srgan_lightning.{name}").main)


@pytest.mark.parametrize("line", [line for line in commands() if line.startswith("make ")])
def test_make_targets(line: str) -> None:
    subprocess.run([*shlex.split(line.split("#")[0]), "--dry-run"], cwd=ROOT, check=True, capture_output=True)


def test_extras_exist() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = {name for group in re.findall(r"srgan-lightning\[([\w,]+)\]", README) for name in group.split(",")}
    named |= set(re.findall(r"extra\s+`(\w+)`", README))
    assert named
    assert named <= extras.keys()


def test_the_python_snippet(home: Path) -> None:
    for snippet in blocks("python")[1:]:
        exec(compile(snippet, "README.md", "exec"), {})


def anchors(markdown: str) -> set[str]:
    """What the headings of a page are linked by."""
    titles = re.findall(r"^#+ (.*)$", markdown, flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_links_and_anchors_lead_somewhere() -> None:
    headings = anchors(README)
    for target in re.findall(r"\]\(([^)]+)\)", README):
        if target.startswith("#"):
            assert target[1:] in headings, target
        elif not target.startswith("http"):
            path, _, anchor = target.partition("#")
            assert (ROOT / path).exists(), target
            assert not anchor or anchor in anchors((ROOT / path).read_text(encoding="utf-8")), target


def test_named_tests_exist() -> None:
    """Each row of the table of promises names its test."""
    known = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").glob("test_*.py"))
    named = re.findall(r"`(test_\w+)`", README)
    assert named
    for name in named:
        assert re.search(rf"def {name}\b", known) or (ROOT / "tests" / f"{name}.py").is_file(), name
