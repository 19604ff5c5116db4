"""`make_shards` after a kill."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

pytest.importorskip("litdata", reason="needs the extra `streaming`")

from srgan_lightning.cli.config import config_dir
from srgan_lightning.data import sharding
from srgan_lightning.make_shards import make_shards
from srgan_lightning.utils.errors import UserError


class Killed(BaseException):
    """Simulate SIGKILL: nothing catches this exception."""


@pytest.fixture
def cfg(photos: Callable[..., Path], tmp_path: Path) -> DictConfig:
    dirs = [f"data.{split}_dir={photos(split, count)}" for split, count in (("train", 6), ("val", 3))]
    with initialize_config_dir(version_base="1.3", config_dir=str(config_dir())):
        return compose("make_shards", [*dirs, f"output={tmp_path}/out", "data.num_workers=0", "data.crop=32"])


@pytest.fixture
def killed(cfg: DictConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a run that was killed in its second split."""

    def die_in_val(image: bytes, name: str) -> object:
        if "val" in str(next(iter(Path(cfg.output).glob("*.partial")))):
            raise Killed
        return decode(image, name)

    decode = sharding.decode
    monkeypatch.setattr(sharding, "decode", die_in_val)
    with pytest.raises(Killed):
        make_shards(cfg)
    monkeypatch.undo()
    assert {path.name for path in Path(cfg.output).iterdir()} == {"train", "val.partial"}


@pytest.mark.usefixtures("killed")
def test_a_killed_run_keeps_the_splits_that_it_has_finished(
    cfg: DictConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in Path(cfg.output, "train").iterdir()}
    assert make_shards(cfg) == {"train": 6, "val": 3}
    assert {path: path.stat().st_mtime_ns for path in Path(cfg.output, "train").iterdir()} == before
    assert {path.name for path in Path(cfg.output).iterdir()} == {"train", "val"}
    said = capsys.readouterr().out
    assert re.search(r"out/train: 6 images from an earlier run\n", said)
    assert re.search(r"out/val: 3 images\n", said)


@pytest.mark.usefixtures("killed")
@pytest.mark.parametrize("change", ["a photo", "the order", "the size", "no record"])
def test_splits_of_other_data_are_not_kept(cfg: DictConfig, change: str) -> None:
    if change == "a photo":
        photo = Path(cfg.data.train_dir, "photo0.png")
        photo.write_bytes(Path(cfg.data.train_dir, "photo1.png").read_bytes())
    elif change == "no record":
        Path(cfg.output, "train", "source.json").unlink()
    else:
        cfg[{"the order": "seed", "the size": "shard_size"}[change]] = {"the order": 5, "the size": "1MB"}[change]
    with pytest.raises(UserError, match=r"train exists already and holds other data"):
        make_shards(cfg)
