"""Provide tiny networks, tiny images, and real data if it lies beside the checkout."""

import os
import resource
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from PIL import Image

from srgan_lightning.cli.config import config_dir

pytest.register_assert_rewrite("tests.helpers")  # so that their asserts say what differs

SHARED = Path(__file__).resolve().parents[2] / "shared"

#: Overrides that shrink any experiment to seconds.
TINY = [
    "model.generator.channels=8",
    "model.generator.blocks=1",
    "trainer.accelerator=cpu",
    "trainer.precision=32-true",  # the same numbers on every CPU
    "trainer.log_every_n_steps=1",
    "data.batch_size=2",
    "~callbacks.progress_bar",
]
TINY_SRGAN = [*TINY, "model.discriminator.channels=4", "model.discriminator.grid=2", "model.discriminator.hidden=8"]
#: The same for a U-Net discriminator.
TINY_UNET = [*TINY, "model.discriminator.channels=4"]
#: All terms of the generator's loss, with weights of VGG that need no file.
ALL_TERMS = [
    "loss.pixel=1",
    "loss.perceptual=0.006",
    "loss.adversarial=1e-3",
    "loss.total_variation=2e-8",
    "loss.vgg.weights=random",
    "loss.vgg.layer=relu1_2",
]
TINY_FACES = ["data.train_images=8", "data.val_images=3", "data.size=64", "data.crop=32", "data.val_batch_size=2"]

FaultCounts = Callable[..., None]


@pytest.fixture
def fault_counts(record_property: Callable[[str, object], None]) -> FaultCounts:
    """Count what a fault-injection test has done, by name; `pytest_terminal_summary` adds it up."""

    def count(**numbers: int) -> None:
        for name, number in numbers.items():
            record_property(name, number)

    return count


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what the fault-injection suite did, summed over xdist's processes."""
    done, failed = Counter[str](), Counter[str]()
    for report in (report for reports in terminalreporter.stats.values() for report in reports):
        if getattr(report, "when", None) == "teardown":  # when a test has finished counting
            done.update(dict(report.user_properties))
        elif getattr(report, "failed", False):
            failed.update(dict(getattr(report, "user_properties", ())))  # absent after an import error
    if not done:
        return
    terminalreporter.section("fault injection")
    lines = {
        "kills survived": f"{done['kills']} ({done['kills_within_a_write']} of them within the writing of a file)",
        "resumes bit-exact": f"{done['runs'] - done['runs_not_bit_exact']} of {done['runs']} runs",
        "faults named": f"{done['faults_planted'] - failed['faults_planted']} of {done['faults_planted']}",
        "bad inputs tried": f"{done['inputs']} ({done['refused']} refused with a clear error, the others read)",
        "lost": f"{done['runs_not_bit_exact']} runs" if done["runs_not_bit_exact"] else "nothing",
    }
    for name, value in lines.items():
        terminalreporter.write_line(f"{name}: {value}")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Use one thread: more do not speed up tiny tensors, and slow down parallel pytest runs a lot."""
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def quick_tests_do_not_train(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail a test that trains or starts Python without one of these markers, so that `make test-fast` stays fast."""
    if any(request.node.get_closest_marker(name) for name in ("slow", "faults", "gpu")):
        return
    start = subprocess.Popen.__init__

    def train(*_: Any, **__: Any) -> None:
        pytest.fail("this test trains: mark it with @pytest.mark.slow")

    def start_unless_python(process: Any, command: Any, *arguments: Any, **options: Any) -> None:
        if not isinstance(command, str) and sys.executable in map(str, command):
            pytest.fail("this test starts Python: mark it with @pytest.mark.slow")
        start(process, command, *arguments, **options)

    monkeypatch.setattr(lightning.Trainer, "fit", train)
    monkeypatch.setattr(subprocess.Popen, "__init__", start_unless_python)


@pytest.fixture
def shared() -> Callable[[str], Path]:
    """Return the path of real data beside the checkout; skip the test if it is absent."""

    def find(name: str) -> Path:
        if not (SHARED / name).exists():
            pytest.skip(f"needs ../shared/{name}, which is not beside this checkout")
        return SHARED / name

    return find


@pytest.fixture
def configure(tmp_path: Path) -> Callable[..., DictConfig]:
    """Compose conf/train.yaml with overrides; runs go to `tmp_path`/run."""

    def configure(*overrides: str, run: str = "run") -> DictConfig:
        with initialize_config_dir(version_base="1.3", config_dir=str(config_dir())):
            return compose("train", [f"run_dir={tmp_path}/{run}", *overrides])

    return configure


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory of a run of two updates, `SHORT`. Tests must not change it."""
    from srgan_lightning.train import train
    from tests.helpers.stops import SHORT, configuration

    run = tmp_path_factory.mktemp("finished") / "0"
    train(configuration(run, SHORT))
    return run


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    """Return a copy of the finished run, as after a move to another disk. Tests may change it."""
    return Path(shutil.copytree(finished, tmp_path / "runs/0"))


@pytest.fixture
def photos(tmp_path: Path) -> Callable[..., Path]:
    """Make a folder of smooth random photos: `photos("train", 4, (48, 40))` writes four of 48 high, 40 wide."""

    def make(name: str, count: int = 4, size: tuple[int, int] = (48, 48), suffix: str = ".png") -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True, exist_ok=True)
        for index in range(count):
            coarse = np.random.default_rng(index).integers(0, 256, (6, 6, 3), dtype=np.uint8)
            Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC).save(folder / f"photo{index}{suffix}")
        return folder

    return make


@pytest.fixture
def celeba(tmp_path: Path) -> Path:
    """Make eight photos in CelebA's layout: red increases to the right, and green downwards."""
    root = tmp_path / "celeba"
    (root / "img_align_celeba").mkdir(parents=True)
    y, x = np.mgrid[:218, :178]
    photo = np.stack([x, y, np.zeros_like(x)], axis=-1).astype(np.uint8)
    for i in range(1, 9):
        Image.fromarray(photo).save(root / "img_align_celeba" / f"{i:06d}.jpg", quality=100, subsampling=0)
    lines = [f"{i:06d}.jpg {0 if i < 6 else 1 if i < 8 else 2}" for i in range(1, 9)]
    (root / "list_eval_partition.txt").write_text("\n".join(lines))
    return root


@pytest.fixture
def run_module(tmp_path: Path) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Run `python -m srgan_lightning.X ...` in `tmp_path`, as a user would."""

    def run(module: str, *arguments: str, timeout: float = 240, **env: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", f"srgan_lightning.{module}", *arguments]
        environment: dict[str, Any] = {**os.environ, "OMP_NUM_THREADS": "1", **env}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=timeout)

    return run


@pytest.fixture
def little_memory() -> Any:
    """Limit memory to 4 GB more than is already used, so that a larger allocation fails at once."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + 4 * 2**30, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)
