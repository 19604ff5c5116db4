"""The loggers besides CSV, and their content after a run."""

import fnmatch
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import wandb
from lightning.fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from srgan_lightning import __version__
from srgan_lightning.runs.provenance import version_name
from srgan_lightning.train import train
from srgan_lightning.training.wandb_logger import GROUPED
from tests.conftest import TINY_FACES, TINY_SRGAN
from tests.helpers.documents import PAGES, ROOT
from tests.helpers.wandb_file import records, values

QUICK = ["experiment=quickstart", *TINY_SRGAN, *TINY_FACES, "trainer.max_steps=4", "trainer.val_check_interval=2"]
SCALARS = ["loss/generator", "loss/pixel", "loss/adversarial", "loss/discriminator", "d_real", "d_fake"]
SCALARS += ["lr/generator", "lr/discriminator", "images_per_second"]
SCORES = [f"{who}{name}" for who in ("", "bicubic_") for name in ("psnr_y", "ssim_y", "psnr_rgb", "ssim_rgb", "swd")]
SCORES += ["grid", "hr_grid", "colour_shift"]
CAPTION = r"face_00000\d: \d\d\.\d\d dB \(bicubic \d\d\.\d\d dB\)"
Configure = Callable[..., DictConfig]


@pytest.fixture(autouse=True)
def staged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let W&B keep artifact files here, and not in the home of whoever runs the tests."""
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "staged"))


def steps_of(history: list[dict[str, Any]], key: str) -> list[int]:
    return [int(row["trainer/global_step"]) for row in history if key in row]


def workspace() -> set[str]:
    """Return the keys that the workspace of docs/ shows, by table and script; some end in a star."""
    section = PAGES["docs/training.md"].split("### A W&B workspace")[1]
    table = re.findall(r"`([a-z]+/[\w*]+)`", "\n".join(re.findall(r"^\| .*", section, flags=re.MULTILINE)))
    script = (ROOT / "docs/make_wandb_workspace.py").read_text(encoding="utf-8")
    names = [name.replace(".*", "*") for name in re.findall(r'"([a-z]+/[\w.*]+)"', script)]
    assert set(table) <= set(names)
    return {*table, *names}


@pytest.mark.slow
def test_wandb_offline_holds_everything(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Two jobs in one process, as in a sweep, give two finished runs of one group, each complete."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    wandb.teardown()  # it reads the environment once a process
    jobs = {name: train(configure(*QUICK, "logger=wandb", f"seed={name}", run=name)) for name in ("1", "2")}
    wandb.teardown()  # its service writes in the background
    assert "anonymous" not in capfd.readouterr().err
    ids = set()
    for name, summary in jobs.items():
        (path,) = (tmp_path / name / "wandb").glob("offline-run-*/*.wandb")
        kept: dict[str, list[Any]] = {}
        for record in records(path):
            kind = str(record.WhichOneof("record_type"))
            kept.setdefault(kind, []).append(getattr(record, kind))
        (run,), (end,) = kept["run"], kept["exit"]
        ids.add(run.run_id)
        assert (run.run_group, run.project, end.exit_code) == ("quickstart", "srgan-lightning", 0)
        config = {key: value for record in kept["config"] for key, value in values(record.update).items()}
        assert (config["seed"], config["loss"]["adversarial"], config["scale"]) == (int(name), 2e-4, 4)
        assert config["code_version"] == version_name()

        # The x-axis of every panel is the count of generator updates.
        assert ("*", "trainer/global_step") in {(m.glob_name, m.step_metric) for m in kept["metric"]}
        history = [values(record.item) for record in kept["history"]]
        for key in SCALARS:
            assert steps_of(history, GROUPED.get(key, key)) == [1, 2, 3, 4], key
        # Every panel is in a section.
        assert all("/" in key or key.startswith(("_", "samples")) for row in history for key in row)
        best = {m.name: (m.summary.max, m.summary.min) for m in kept["metric"]}
        assert (best["val/psnr_y"], best["val/swd"]) == ((True, False), (False, True))
        for key in SCORES:
            assert steps_of(history, f"val/{key}") == [2, 4], key
        logged = {key.split(".")[0] for row in history for key in row}
        assert {name for name in workspace() if not fnmatch.filter(logged, name)} == set()
        panels = {"LR": ([2], 16), "bicubic": ([2], 64), "HR": ([2], 64), "SR": ([2, 4], 64)}
        for panel, (steps, size) in panels.items():
            assert steps_of(history, f"samples/{panel}.captions") == steps
            for row in (row for row in history if f"samples/{panel}.captions" in row):
                captions, files = (row[f"samples/{panel}.{what}"] for what in ("captions", "filenames"))
                assert [caption.split(":")[0] for caption in captions] == [f"face_00000{i}" for i in range(3)]
                assert panel != "SR" or all(re.fullmatch(CAPTION, caption) for caption in captions)
                for file in files:
                    with Image.open(path.parent / "files" / file) as image:
                        assert image.size == (size, size)

        (artifact,) = [artifact for artifact in kept["artifact"] if artifact.type == "model"]
        assert sorted(artifact.aliases) == ["best", "latest"]
        assert json.loads(artifact.metadata) == {key: summary[key] for key in SCORES}
        (file,) = artifact.manifest.contents
        assert (file.path, Path(file.local_path)) == (
            "generator.safetensors",
            tmp_path / name / "generator.safetensors",
        )
        last = {key: value for record in kept["summary"] for key, value in values(record.update).items()}
        assert last["best/psnr_y"] == pytest.approx(summary["psnr_y"])
    assert len(ids) == 2


@pytest.mark.slow
def test_a_failed_run_is_reported_to_wandb(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    wandb.teardown()
    with pytest.raises(MisconfigurationException):
        train(configure(*QUICK, "logger=wandb", "callbacks.best.monitor=val/nothing"))
    assert wandb.run is None  # the next job of a sweep starts its own
    wandb.teardown()
    (path,) = (tmp_path / "run/wandb").glob("offline-run-*/*.wandb")
    assert [record.exit.exit_code for record in records(path) if record.WhichOneof("record_type") == "exit"] == [1]


@pytest.mark.slow
def test_wandb_without_key_or_terminal_is_an_offline_run(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # without a login
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("WANDB_MODE", "online")  # to be restored after the test ...
    monkeypatch.delenv("WANDB_MODE")  # ... and not set in it
    wandb.teardown()  # it reads the environment once a process
    train(configure(*QUICK, "logger=wandb"))
    assert wandb.run is None  # finished: the next job of a sweep starts its own
    assert "logged offline" in capsys.readouterr().out
    (path,) = (tmp_path / "run/wandb").glob("offline-run-*/*.wandb")
    wandb.teardown()  # its service writes in the background
    assert [record.exit.exit_code for record in records(path) if record.WhichOneof("record_type") == "exit"] == [0]
    assert (tmp_path / "run/metrics.csv").is_file()


@pytest.mark.slow
def test_wandb_disabled_is_honoured(configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    wandb.teardown()
    train(configure(*QUICK, "logger=wandb"))
    assert not list(tmp_path.rglob("*.wandb"))


@pytest.mark.slow
def test_tensorboard_holds_the_same(configure: Configure, tmp_path: Path) -> None:
    summary = train(configure(*QUICK, "logger=tensorboard"))
    events = EventAccumulator(str(tmp_path / "run/tensorboard")).Reload()
    for key in SCALARS:
        assert [event.step for event in events.Scalars(key)] == [1, 2, 3, 4], key
    for key in SCORES:
        assert [event.step for event in events.Scalars(f"val/{key}")] == [2, 4], key
        (best,) = events.Scalars(f"best/{key}")
        assert best.value == pytest.approx(summary[key], rel=1e-5)
    for index in range(3):
        pictures = events.Images(f"samples/face_00000{index}")
        assert [(event.step, event.width, event.height) for event in pictures] == [(2, 208, 92), (4, 208, 92)]
    texts = {tag: events.Tensors(f"{tag}/text_summary") for tag in ("samples", "config")}
    assert [event.step for event in texts["samples"]] == [2, 4]
    captions = texts["samples"][-1].tensor_proto.string_val[0].decode()
    assert len(re.findall(CAPTION, captions)) == 3
    config = texts["config"][0].tensor_proto.string_val[0].decode()
    assert "adversarial: 0.0002" in config
    assert f"code_version: {version_name()}" in config
    # The page that compares runs by settings and scores.
    plugin = events.PluginTagToContent("hparams")
    session = HParamsPluginData.FromString(plugin["_hparams_/session_start_info"]).session_start_info
    assert session.hparams["loss/adversarial"].number_value == 2e-4
    experiment = HParamsPluginData.FromString(plugin["_hparams_/experiment"]).experiment
    assert {info.name.tag for info in experiment.metric_infos} == {f"best/{key}" for key in SCORES}


def test_code_version_begins_with_the_packages() -> None:
    assert version_name().split("+")[0] == __version__


@pytest.mark.slow
def test_wandb_resumes_the_run_of_the_directory(
    configure: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    wandb.teardown()
    train(configure(*QUICK, "logger=wandb", "callbacks.sample_grid=null"))
    train(configure(*QUICK, "logger=wandb", "callbacks.sample_grid=null", "ckpt_path=last", "trainer.max_steps=5"))
    runs = [path.name.rsplit("-", 1)[-1] for path in (tmp_path / "run/wandb").glob("offline-run-*")]
    assert len(set(runs)) == 1
