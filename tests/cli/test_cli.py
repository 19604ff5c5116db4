"""The command line: configurations that compose, and one paragraph for every mistake."""

import json
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.utils import instantiate
from omegaconf import DictConfig

from srgan_lightning.artifacts.artifact import save_artifact
from srgan_lightning.cli.config import config_dir
from srgan_lightning.networks import Generator
from srgan_lightning.runs.reading import find_runs
from srgan_lightning.train import build_trainer, main
from srgan_lightning.upscale import main as upscale
from tests.conftest import TINY, TINY_FACES, TINY_SRGAN

EXPERIMENTS = sorted(path.stem for path in (config_dir() / "experiment").glob("*.yaml"))
Configure = Callable[..., DictConfig]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Run `python -m srgan_lightning.train ARGUMENTS` in this process; return exit code and output."""

    def run(*arguments: str) -> tuple[int, str]:
        GlobalHydra.instance().clear()
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["train", *arguments])
        try:
            main()
        except SystemExit as stop:
            return int(stop.code or 0), capsys.readouterr().err
        return 0, capsys.readouterr().err

    return run


def test_the_experiments_of_the_readme_are_there() -> None:
    assert {"quickstart", "celeba_blur", "srresnet_celeba", "srgan_celeba", "paper_srresnet", "paper_srgan"} <= {
        *EXPERIMENTS
    }


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_composes_and_builds(configure: Configure, experiment: str) -> None:
    cfg = configure(f"experiment={experiment}", "loss.vgg.weights=random")
    cfg.model.update({name: None for name in ("init_from", "discriminator_init_from") if name in cfg.model})
    module = instantiate(cfg.model, loss=instantiate(cfg.loss))
    data = instantiate(cfg.data, degradation=instantiate(cfg.degradation))
    assert data.scale == module.generator.scale == cfg.scale
    trainer = build_trainer(cfg, manual=not module.automatic_optimization)
    assert trainer.max_steps == cfg.trainer.max_steps
    terms = {name for name, weight in module.loss.weights.items() if weight}
    assert ("adversarial" in terms) == hasattr(module, "discriminator")


@pytest.mark.parametrize(
    ("group", "option"),
    [
        (path.parent.name, path.stem)
        for path in sorted(config_dir().glob("*/*.yaml"))
        if path.parent.name in ("data", "degradation", "logger", "loss", "trainer")
    ],
)
def test_every_option_of_every_group_composes(configure: Configure, group: str, option: str) -> None:
    cfg = configure(f"{group}={option}")
    assert cfg[group]


def test_paper_experiments_hold_the_papers_numbers(configure: Configure) -> None:
    one, two = configure("experiment=paper_srresnet"), configure("experiment=paper_srgan")
    assert (one.trainer.max_steps, two.trainer.max_steps) == (10**6, 2 * 10**5)
    for cfg in (one, two):
        assert (cfg.data.crop, cfg.data.batch_size, cfg.scale) == (96, 16, 4)
        assert (cfg.model.generator.channels, cfg.model.generator.blocks) == (64, 16)
        assert (cfg.model.generator_optimizer.lr, cfg.model.generator_optimizer.betas[0]) == (1e-4, 0.9)
        assert cfg.model.generator.global_skip == "none"
    assert (two.loss.perceptual, two.loss.adversarial, two.loss.pixel) == (0.006, 1e-3, 0)
    assert two.loss.vgg.layer == "relu5_4"
    assert (two.model.generator_scheduler.milestones, two.model.generator_scheduler.gamma) == ([100000], 0.1)


def test_celeba_blur_has_the_values_of_its_first_line(configure: Configure) -> None:
    cfg = configure("experiment=celeba_blur")
    assert (cfg.data.fit, list(cfg.data.size), cfg.trainer.max_epochs) == ("squash", [256, 256], 2)
    assert (cfg.degradation.kernel, list(cfg.degradation.sigma)) == (25, [0.1, 2.0])
    weights = [cfg.loss[name] for name in ("pixel", "perceptual", "adversarial", "total_variation")]
    assert (weights, cfg.loss.adversarial_kind) == ([1, 0.006, 1e-3, 2e-8], "linear")


def assert_one_paragraph(code: int, text: str, *words: str) -> None:
    assert code == 1
    assert "Traceback" not in text
    for word in words:
        assert word in text


@pytest.mark.slow
def test_an_own_generator_asks_for_its_class(command: Callable[..., Any]) -> None:
    code, text = command("experiment=quickstart", "model/generator=own")
    assert_one_paragraph(code, text, "model.generator._target_ is not set: set model.generator._target_=MODULE.CLASS")


@pytest.mark.slow
def test_bad_settings_are_reported_before_training(
    command: Callable[..., Any], photos: Callable[..., Path], tmp_path: Path
) -> None:
    good = f"data.train_dir={photos('good', 4)}", f"data.val_dir={photos('good', 4)}"
    photos("hr", 3, (48, 48)), photos("lr", 3, (12, 16))
    pairs = [f"data.{split}_{kind}_dir={tmp_path / kind}" for split in ("train", "val") for kind in ("hr", "lr")]
    save_artifact(tmp_path / "other.safetensors", Generator(16, 2), {})
    (tmp_path / "bad.safetensors").write_bytes(b"no weights")
    for overrides, words in (
        (["experiment=srgan_celeba", "data.root=nowhere"], ["looked in", str(tmp_path), "data.download", "quickstart"]),
        (["data=folder"], ["data.train_dir is not set", "quickstart"]),
        (["data=pairs"], ["data.train_hr_dir is not set", "`python -m srgan_lightning.train experiment=quickstart`"]),
        (["loss.pixle=1"], ["loss.pixle", "pixle"]),
        (["data=celebaa"], ["data/celebaa", "celeba_native"]),
        (["data=folder", *good, "data.crop=30"], ["30x30", "scale=4", "28x28"]),
        (["data.size=130", "data.crop=null"], ["130x130", "scale=4"]),
        (["data=pairs", *pairs], ["16x12", "12x12"]),
        (["loss.perceptual=1", "loss.vgg.weights=nowhere.pth"], ["nowhere.pth", "no such file"]),
        (["loss.perceptual=1", "loss.vgg.layer=relu6_1", "loss.vgg.weights=random"], ["relu6_1", "relu5_4"]),
        (["model.init_from=other.safetensors"], ["channels=16", "blocks=2", "channels=8"]),
        (["model.init_from=bad.safetensors"], ["bad.safetensors", "not a complete safetensors file"]),
        (["model.init_from=none.safetensors"], ["none.safetensors", "no such file"]),
        (["model.init_from=srresnetx4"], ["model.init_from=srresnetx4: no such file", "Did you mean srresnet-x4?"]),
        (["trainer.devices=999"], ["trainer.devices=999", "cores"]),
        (["trainer.num_nodes=2"], ["trainer.num_nodes=2", "srun", "torchrun --nnodes=2"]),
        (["ckpt_path=last"], ["ckpt_path=last", "no valid checkpoint below"]),
        (["ckpt_path=none.ckpt"], ["none.ckpt", "no such file"]),
        (["trainer.precision=bf16-true"], ["bf16-true", "bf16-mixed"]),
        (["trainer.gradient_clip_val=1"], ["model.generator_clip"]),
        (["trainer.accumulate_grad_batches=2"], ["model.accumulate_grad_batches"]),
        (["+model.width=1"], ["SRGAN", "'width'", "~model.width"]),
        (["seed=-1"], ["seed=-1", "from 0 to 4294967295"]),
        (["experiment=srresnet_celeba", "data=synthetic", "loss.adversarial=1"], ["no discriminator", "model=srgan"]),
        (["scale=3", "data.crop=64"], ["scale=3", "2, 4 or 8"]),
        (["trainer.max_steps=abc"], ["trainer.max_steps=abc: Trainer needs int here."]),
        (["data.batch_size=abc"], ["data.batch_size=abc: SyntheticData needs int here."]),
        (["model.generator.blocks=abc"], ["model.generator.blocks=abc: Generator needs int here."]),
        (["+trainer.max_stepz=3"], ["trainer.max_stepz: Trainer has no argument", "did you mean trainer.max_steps?"]),
        (["+data.batch_sise=3"], ["data.batch_sise: SyntheticData has", "did you mean data.batch_size?"]),
        (["scale=3", "data.size=66", "data.crop=33"], ["scale=3", "2, 4 or 8"]),
        (["data.batch_size=99"], ["99", "data.batch_size"]),
        (["degradation=blur"], ["this degradation needs 13 pixels", "degradation.kernel"]),
    ):
        tiny = TINY if "experiment=srresnet_celeba" in overrides else TINY_SRGAN
        faces = (
            TINY_FACES
            if not any(
                o.startswith(("data=folder", "data=pairs", "data=celebaa", "experiment=srgan_celeba"))
                for o in overrides
            )
            else []
        )
        code, text = command(*tiny, *faces, "trainer.max_steps=1", *overrides)
        assert_one_paragraph(code, text, *words)
        assert not list(tmp_path.rglob("*.ckpt")), f"trained in spite of {overrides}"


@pytest.mark.slow
def test_flags_of_the_other_commands_are_reported(command: Callable[..., Any]) -> None:
    code, text = command("--weights", "a.safetensors")
    assert code == 2
    assert text.endswith("write weights=... without dashes.\n")
    assert command("--multirun", "--device", "cuda")[1].endswith("write device=... without dashes.\n")
    assert "without dashes" not in command("--cfg", "nonsense")[1]


@pytest.mark.slow
def test_flags_are_accepted_anywhere(
    command: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine/experiment").mkdir(parents=True)
    (tmp_path / "mine/experiment/own.yaml").write_text("# @package _global_\nname: mine\n")
    for arguments in (
        ["experiment=own", "--config-dir", "mine", "scale=2", "--cfg", "job", "trainer.max_steps=7"],
        ["--config-dir=mine", "experiment=own", "-c", "job", "scale=2", "trainer.max_steps=7"],
    ):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["train", *arguments])
        main()
        said = yaml.safe_load(capsys.readouterr().out)
        assert (said["name"], said["scale"], said["trainer"]["max_steps"]) == ("mine", 2, 7)
    code, text = command("scale=2", "--nonsense", "trainer.max_steps=7")
    assert (code, "unrecognized arguments: --nonsense" in text) == (2, True)


def test_inputs_are_accepted_on_both_sides_of_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert upscale(["none.png", "-o", "out", "neither.png"]) == 1
    assert "none.png" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_missing_gpus_are_reported(command: Callable[..., Any]) -> None:
    assert_one_paragraph(*command(*TINY_SRGAN, *TINY_FACES, "trainer.accelerator=gpu", "trainer.devices=2"), "gpu")


@pytest.mark.slow
def test_a_vgg_download_without_network_is_reported(
    command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("network is unreachable")

    monkeypatch.setattr("torchvision.models.VGG19_Weights.get_state_dict", fail)
    code, text = command(*TINY_SRGAN, *TINY_FACES, "loss.perceptual=0.006")
    assert_one_paragraph(code, text, "network is unreachable", "loss.vgg.weights=PATH", "loss.perceptual=0")


@pytest.mark.slow
def test_hostile_checkpoints_are_reported_and_not_run(command: Callable[..., Any], tmp_path: Path) -> None:
    class Exploit:
        def __reduce__(self) -> Any:
            return (Path(tmp_path / "exploited").touch, ())

    torch.save({"state_dict": {}, "generator": Exploit()}, tmp_path / "evil.ckpt")
    for override in ("model.init_from=evil.ckpt", "ckpt_path=evil.ckpt"):
        code, text = command(*TINY_SRGAN, *TINY_FACES, "trainer.max_steps=1", override)
        assert_one_paragraph(code, text, "evil.ckpt")
    assert not (tmp_path / "exploited").exists()


@pytest.mark.slow
def test_the_log_of_a_failed_run_has_the_error(command: Callable[..., Any], tmp_path: Path) -> None:
    code, text = command(*TINY_SRGAN, *TINY_FACES, "data.batch_size=99", "hydra.run.dir=outputs/quickstart/failed")
    assert code == 1
    (run,) = find_runs(tmp_path / "outputs/quickstart")
    assert run.state == "failed"
    assert run.failure.startswith("The training set has 8 images, but one step needs 99")
    assert run.failure in text


@pytest.mark.slow
@pytest.mark.parametrize("before", [0, 3])
def test_multirun_makes_one_run_directory_per_job(command: Callable[..., Any], tmp_path: Path, before: int) -> None:
    options = [*TINY_SRGAN, *TINY_FACES, "trainer.max_steps=1", "loss.adversarial=0,1e-3"]
    code, text = command(*options[:before], "-m", *options[before:])
    assert code == 0, text
    (sweep,) = (tmp_path / "multirun/custom").iterdir()
    for job in ("0", "1"):
        assert json.loads((sweep / job / "summary.json").read_text())["steps"] == 1


@pytest.mark.slow
def test_module_trains_as_a_user_would(run_module: Callable[..., Any], tmp_path: Path) -> None:
    done = run_module("train", *TINY_SRGAN[:-1], *TINY_FACES, "trainer.max_steps=2")
    assert done.returncode == 0, done.stderr
    assert "bicubic" in done.stdout
    (run,) = (tmp_path / "outputs/custom").iterdir()
    assert (run / ".hydra/config.yaml").is_file()
    assert (run / "generator.safetensors").is_file()


@pytest.mark.slow
def test_the_wheel_carries_conf(tmp_path: Path) -> None:
    hatchling = pytest.importorskip("hatchling.build", reason="needs hatchling, which builds the wheel")
    root = Path(__file__).resolve().parents[2]
    import os

    before = Path.cwd()
    try:
        os.chdir(root)
        name = hatchling.build_wheel(str(tmp_path))
    finally:
        os.chdir(before)
    members = set(zipfile.ZipFile(tmp_path / name).namelist())
    assert {
        f"srgan_lightning/conf/{path.relative_to(root / 'conf')}" for path in (root / "conf").rglob("*.yaml")
    } <= members
    entry_points = next(member for member in members if member.endswith("entry_points.txt"))
    assert b"srgan-train = srgan_lightning.train:main" in zipfile.ZipFile(tmp_path / name).read(entry_points)
