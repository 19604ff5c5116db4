"""`data=streaming`: a folder becomes shards, and a run trains on them."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig

litdata = pytest.importorskip("litdata", reason="needs the extra `streaming`")

from srgan_lightning.data.celeba import CelebA  # noqa: E402
from srgan_lightning.data.datasets import TrainingSet  # noqa: E402
from srgan_lightning.data.degradation import Bicubic  # noqa: E402
from srgan_lightning.data.folder import ImageFolder, PairedFolders  # noqa: E402
from srgan_lightning.data.sharding import write_shards  # noqa: E402
from srgan_lightning.data.streaming import Shards, ShardStream, StreamingData  # noqa: E402
from srgan_lightning.make_shards import make_shards  # noqa: E402
from srgan_lightning.train import train  # noqa: E402
from srgan_lightning.utils.errors import UserError  # noqa: E402
from tests.conftest import TINY  # noqa: E402

Photos = Callable[..., Path]


@pytest.fixture
def shards(photos: Photos, tmp_path: Path) -> Path:
    """Write shards of 24 and 5 photos, about 5 per shard."""
    folders = {"train": photos("photos/train", 24, (48, 56), ".jpg"), "val": photos("photos/val", 5, (45, 50))}
    for split, folder in folders.items():
        write_shards(ImageFolder(folder, "x"), tmp_path / "shards" / split, "8KB", 0, 0, "raise")
    return tmp_path / "shards"


def stream_of(folder: Path, crop: int | None = 32) -> ShardStream:
    source = Shards(str(folder), "x", None, "square")
    return ShardStream(source, TrainingSet(source, 4, crop), seed=3, cache_size=None)


def test_shards_hold_the_files_as_they_are(shards: Path, photos: Photos, tmp_path: Path) -> None:
    ours, files = Shards(str(shards / "val"), "x", None, "square"), ImageFolder(tmp_path / "photos/val", "x")
    assert len(ours) == 5
    assert len(list((shards / "train").glob("*.bin"))) > 3
    for number in range(5):
        item = litdata.StreamingDataset(str(shards / "val"))[number]
        index = [files.name(i) for i in range(5)].index(item["name"])
        assert item["image"] == files.paths[index].read_bytes()
        assert torch.equal(ours.read(number), files.read(index))


def test_two_processes_share_an_epoch_without_overlap(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    seen: dict[str, list[int]] = {}
    for rank in ("0", "1"):
        monkeypatch.setenv("GLOBAL_RANK", rank)
        loader = litdata.StreamingDataLoader(stream_of(shards / "train"), batch_size=2, num_workers=0)
        seen[rank] = [int(index) for batch in loader for index in batch["index"]]
        assert len(seen[rank]) == len(loader) * 2 == 12
    assert sorted(seen["0"] + seen["1"]) == list(range(24))


def test_samples_depend_only_on_seed_epoch_and_index(shards: Path) -> None:
    def epochs(workers: int) -> list[dict[int, torch.Tensor]]:
        loader = litdata.StreamingDataLoader(stream_of(shards / "train"), batch_size=2, num_workers=workers)
        return [
            {int(i): hr for batch in loader for i, hr in zip(batch["index"], batch["hr"], strict=True)}
            for _ in range(2)
        ]

    (first, second), again = epochs(0), epochs(2)
    assert len(first) == 24
    assert any(not torch.equal(first[i], second[i]) for i in range(24))
    for one, other in zip((first, second), again, strict=True):
        assert all(torch.equal(one[i], other[i]) for i in other)


def quick(shards: Path, *more: str) -> list[str]:
    dirs = [f"data.train_dir={shards}/train", f"data.val_dir={shards}/val", "data.crop=32"]
    return ["experiment=srresnet_celeba", "data=streaming", *TINY, *dirs, "trainer.val_check_interval=5", *more]


@pytest.mark.slow
@pytest.mark.parametrize(("stop", "workers"), [(5, 2), (12, 0)])  # within an epoch of twelve batches, at its end
def test_resume_continues_within_the_shards(
    configure: Callable[..., DictConfig], shards: Path, stop: int, workers: int
) -> None:
    more = (f"data.num_workers={workers}", "degradation=blur", "degradation.kernel=5")
    whole = configure(*quick(shards, "trainer.max_steps=14", *more), run="whole/0")
    train(whole)
    train(configure(*quick(shards, f"trainer.max_steps={stop}", *more), run="parts/0"))
    rest = configure(*quick(shards, "trainer.max_steps=14", "ckpt_path=last", *more), run="parts/1")
    assert train(rest)["steps"] == 14
    a, b = (torch.load(Path(cfg.run_dir) / "checkpoints/last.ckpt", weights_only=True) for cfg in (whole, rest))
    for name, value in a["state_dict"].items():
        assert torch.equal(value, b["state_dict"][name]), name


@pytest.mark.slow
def test_scores_are_those_of_the_files(configure: Callable[..., DictConfig], shards: Path, tmp_path: Path) -> None:
    cfg = configure(*quick(shards, "trainer.max_steps=1", "data.num_workers=1"))
    ours = train(cfg)
    folder = ["experiment=srresnet_celeba", "data=folder", *TINY, f"data.train_dir={tmp_path}/photos/train"]
    folder += [f"data.val_dir={tmp_path}/photos/val", "data.crop=32", "trainer.max_steps=1"]
    assert train(configure(*folder, run="folder"))["bicubic_psnr_y"] == pytest.approx(ours["bicubic_psnr_y"], abs=1e-5)


def test_the_command_writes_celeba(shared: Callable[[str], Path], tmp_path: Path) -> None:
    from hydra import compose, initialize_config_dir

    from srgan_lightning.cli.config import config_dir

    root = shared("data/celeba_sample")
    with initialize_config_dir(version_base="1.3", config_dir=str(config_dir())):
        overrides = ["data=celeba", f"data.root={root}", f"output={tmp_path}/out", "splits=[val]", "data.num_workers=0"]
        cfg = compose("make_shards", overrides)
    files = CelebA(root, "val", (64, 64), "square")
    assert make_shards(cfg) == {"val": len(files)}
    ours = Shards(f"{tmp_path}/out/val", "x", (64, 64), "square")
    assert torch.equal(ours.read(1), files.read(1))
    with pytest.raises(UserError, match="exists already"):
        make_shards(cfg)


def test_broken_images_end_the_writing_or_are_left_out(photos: Photos, tmp_path: Path) -> None:
    folder = photos("broken", 4)
    (folder / "photo1.png").write_bytes((folder / "photo1.png").read_bytes()[:90])
    source, out = ImageFolder(folder, "x"), tmp_path / "out"
    with pytest.raises(UserError, match=r"photo1\.png cannot be read"):
        write_shards(source, out, "1MB", None, 1, "raise")
    assert not out.exists()
    with pytest.warns(UserWarning, match=r"photo1\.png"):
        assert write_shards(source, out, "1MB", None, 0, "skip") == 3
    assert [litdata.StreamingDataset(str(out))[i]["index"] for i in range(3)] == [0, 1, 2]


def test_invalid_options_are_refused(photos: Photos, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.train_dir=nowhere: no shards"):
        Shards("nowhere", "data.train_dir", None, "square")
    with pytest.raises(UserError, match=r"data\.train_dir is not set"):
        StreamingData(None, None, degradation=Bicubic(4)).source("train")
    with pytest.raises(UserError, match=r"data\.fit='sqare' is unknown"):
        StreamingData("a", "b", size=(64, 64), fit="sqare", degradation=Bicubic(4))  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"data\.size: HR of 16x16 pixels is too small"):
        StreamingData("a", "b", size=(16, 16), degradation=Bicubic(4))
    for option in ({"on_error": "skip"}, {"repeats": 2}):
        with pytest.raises(UserError, match=r"data\.repeats do not work with data=streaming, which is for many images"):
            StreamingData("a", "b", degradation=Bicubic(4), **option)
    hr, lr = photos("hr", 1, (48, 48)), photos("lr", 1, (12, 12))
    with pytest.raises(UserError, match="HR images"):
        write_shards(PairedFolders(str(hr), str(lr), 4, "x"), tmp_path / "out", "1MB", None, 0, "raise")
    with pytest.raises(UserError, match="not a local folder"):
        write_shards(ImageFolder(hr, "x"), "s3://bucket/x", "1MB", None, 0, "raise")


def test_shards_too_small_to_score_are_reported(photos: Photos, tmp_path: Path) -> None:
    write_shards(ImageFolder(photos("tiny", 1, (16, 16)), "x"), tmp_path / "out", "1MB", None, 0, "raise")
    data = StreamingData(None, str(tmp_path / "out"), degradation=Bicubic(4), crop=32, num_workers=0)
    data.setup("validate")
    with pytest.raises(UserError, match="is 16x16 pixels, too small to be degraded or scored"):
        next(iter(data.val_dataloader()))


class Bomb:
    """Make a folder when unpickled."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (os.environ["BOMB"],)


def test_shards_never_execute_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOMB", str(tmp_path / "bomb"))
    writer = litdata.streaming.writer.BinaryWriter(str(tmp_path / "evil"), chunk_bytes="1MB")
    for number in range(4):
        writer[number] = {"image": Bomb(), "name": "x", "index": number}
    writer.done()
    writer.merge()
    assert "pickle" in json.loads((tmp_path / "evil/index.json").read_text())["config"]["data_format"]
    with pytest.raises(UserError, match="could execute code"):
        Shards(str(tmp_path / "evil"), "x", None, "square").read(0)
    with pytest.raises(UserError, match="could execute code"):
        next(iter(stream_of(tmp_path / "evil")))
    assert not (tmp_path / "bomb").exists()
