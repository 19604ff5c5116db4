"""`python -m srgan_lightning.check_data` names every planted fault."""

import json
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from PIL import Image
from rich.console import Console

from srgan_lightning.check_data import check_data, main
from srgan_lightning.cli.config import config_dir
from srgan_lightning.tools.data_check.duplicates import fingerprint, same_pictures
from srgan_lightning.tools.data_check.findings import Finding
from srgan_lightning.tools.data_check.report import as_json, print_report
from srgan_lightning.tools.data_check.spectrum import MIN_DETAIL, fine_detail
from srgan_lightning.utils.errors import UserError


def photo(seed: int, size: tuple[int, int] = (120, 96)) -> Image.Image:
    """Draw coarse shapes and fine grain, as in a photo."""
    rng = np.random.default_rng(seed)
    shapes = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
    grain = rng.normal(0, 12, (size[1], size[0], 1))
    return Image.fromarray((np.asarray(shapes) + grain).clip(0, 255).astype(np.uint8))


def half(image: Image.Image, factor: float = 0.5) -> Image.Image:
    return image.resize((int(image.width * factor), int(image.height * factor)), Image.Resampling.BICUBIC)


def check(*overrides: str) -> dict[str, set[tuple[str, str]]]:
    """Return the findings by kind, each as (set, file names)."""
    with initialize_config_dir(version_base="1.3", config_dir=str(config_dir())):
        report = check_data(compose("check_data", list(overrides)))
    found: dict[str, set[tuple[str, str]]] = {}
    for finding in report["findings"]:
        names = " ".join(Path(name).name for name in finding["files"])
        found.setdefault(finding["kind"], set()).add((finding["split"], names))
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write train with ten photos, and val with four."""
    for split, seeds in (("train", range(10)), ("val", range(20, 24))):
        (tmp_path / split).mkdir()
        for seed in seeds:
            photo(seed).save(tmp_path / split / f"{seed}.png")
    return tmp_path


def test_valid_photos_have_no_findings(folder: Path) -> None:
    assert check(f"data.train_dir={folder}/train", f"data.val_dir={folder}/val") == {}


def test_every_fault_of_a_folder_is_named(folder: Path) -> None:
    train, val = folder / "train", folder / "val"
    photo(50).save(train / "whole.jpg")
    (train / "cut.jpg").write_bytes((train / "whole.jpg").read_bytes()[:2000])
    (train / "text.png").write_text("Dear reader, this is no image.")
    (train / "empty.webp").touch()
    (train / "clip.mov").touch()
    photo(51, (120, 60)).save(train / "low.png")
    photo(52).convert("RGBA").save(train / "alpha.png")
    photo(53).quantize(64).save(train / "palette.png")
    photo(54).convert("CMYK").save(train / "cmyk.jpg")
    Image.fromarray(np.asarray(photo(55).convert("L")).astype(np.uint16) * 257).save(train / "deep.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    photo(56).save(train / "turned.jpg", exif=exif, quality=95)
    half(half(photo(57, (240, 192)), 0.25), 4).save(train / "enlarged.png")
    Image.new("RGB", (96, 96), (9, 9, 9)).save(val / "black.png")
    photo(58, (121, 99)).save(val / "odd.png")
    photo(59, (40, 18)).save(val / "tiny.png")
    # The same pictures again, at another quality, smaller and mirrored.
    photo(0).save(train / "again.jpg", quality=60)
    half(photo(1)).save(val / "smaller.jpg", quality=80)
    photo(2).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(val / "mirrored.png")
    found = check(f"data.train_dir={train}", f"data.val_dir={val}", "data.crop=64")
    assert found == {
        "unreadable": {("train", "cut.jpg"), ("train", "text.png"), ("train", "empty.webp")},
        "too_small": {("train", "low.png"), ("val", "tiny.png")},
        "leak": {("train+val", "1.png smaller.jpg"), ("train+val", "2.png mirrored.png")},
        "duplicate": {("train", "0.png again.jpg")},
        "flat": {("val", "black.png")},
        "upsampled": {("train", "enlarged.png")},
        "mode": {("train", name) for name in ("alpha.png", "palette.png", "cmyk.jpg", "deep.png")},
        "orientation": {("train", "turned.jpg")},
        "not_divisible": {("val", "odd.png"), ("val", "tiny.png")},
        "ignored": {("train", "clip.mov")},
    }


def test_whole_images_must_be_of_one_size(folder: Path) -> None:
    photo(60, (128, 96)).save(folder / "train/wide.png")
    assert check(f"data.train_dir={folder}/train", "data.crop=null") == {"sizes": {("train", "9.png wide.png")}}


def test_every_fault_of_pairs_is_named(tmp_path: Path) -> None:
    hr, lr = tmp_path / "hr", tmp_path / "lr"
    hr.mkdir(), lr.mkdir()
    for seed in range(8):
        photo(seed).save(hr / f"{seed}.png")
        half(photo(seed), 0.25).save(lr / f"{seed}x4.png")
    half(photo(3), 0.25).save(lr / "2x4.png")  # another picture
    Image.fromarray(255 - np.asarray(half(photo(4), 0.25)) // 2).save(lr / "4x4.png")
    Image.fromarray((np.asarray(half(photo(1), 0.25)) * 0.5).astype(np.uint8)).save(lr / "1x4.png")  # dark
    half(photo(5), 0.5).save(lr / "5x4.png")
    (lr / "6x4.png").write_bytes((lr / "6x4.png").read_bytes()[:200])
    (lr / "7x4.png").rename(lr / "seven.png")
    found = check("data=pairs", f"data.train_hr_dir={hr}", f"data.train_lr_dir={lr}")
    assert found == {
        "pair_content": {("train", "2x4.png"), ("train", "4x4.png")},
        "pair_far": {("train", "1x4.png")},
        "pair_size": {("train", "5x4.png")},
        "unreadable": {("train", "6x4.png")},
        "pair_missing": {("train", "7.png"), ("train", "seven.png")},
    }


@pytest.mark.parametrize("packed", [False, True])
def test_every_fault_of_celeba_is_named(tmp_path: Path, packed: bool) -> None:
    images = tmp_path / "img_align_celeba"
    images.mkdir()
    for number in range(1, 9):
        photo(number, (178, 218)).save(images / f"{number}.jpg", quality=95)
    shutil.copy(images / "1.jpg", images / "6.jpg")
    (images / "2.jpg").write_bytes((images / "2.jpg").read_bytes()[:3000])
    lines = "1.jpg 0,2.jpg 0,3.jpg 0,3.jpg 1,4.jpg 5,5.jpg,6.jpg 1,../7.jpg 1,9.jpg 2,8.jpg 2"
    (tmp_path / "list_eval_partition.txt").write_text(lines.replace(",", "\n"))
    if packed:
        with zipfile.ZipFile(tmp_path / "img_align_celeba.zip", "w") as archive:
            for path in sorted(images.iterdir()):
                archive.write(path, f"img_align_celeba/{path.name}")
        shutil.rmtree(images)
    found = check("data=celeba_native", f"data.root={tmp_path}")
    partition = {number: f"list_eval_partition.txt, line {number}" for number in range(11)}
    assert found == {
        "unreadable": {("train", "2.jpg")},
        "partition": {("val", partition[4]), ("", partition[5]), ("", partition[6]), ("", partition[8])},
        "missing": {("test", "9.jpg")},
        "leak": {("train+val", "1.jpg 6.jpg")},
        "unlisted": {("", "4.jpg 5.jpg 7.jpg")},
    }


def test_data_without_files_is_reported() -> None:
    for overrides, words in (
        (["data=synthetic"], "has no files to check"),
        (["data=folder"], "Nothing to check"),
        (["data.train_dir=nowhere"], "no such folder"),
        (["data=celeba", "data.root=nowhere"], "was not found"),
    ):
        with pytest.raises(UserError, match=words):
            check(*overrides)


def test_the_command_writes_json_and_gives_exit_codes(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)

    def run(*arguments: str) -> int:
        GlobalHydra.instance().clear()
        monkeypatch.setattr(sys, "argv", ["check_data", "data.train_dir=train", "json=new/report.json", *arguments])
        try:
            main()
        except SystemExit as stop:
            return int(stop.code or 0)
        return 0

    photo(0).save(folder / "train/copy.png")
    assert run() == 0  # a warning
    assert "0 errors, 1 warnings, 0 notes" in capsys.readouterr().out
    (folder / "train/bad.png").touch()
    assert run() == 1
    told = capsys.readouterr()
    assert "bad.png" in told.out
    assert "Traceback" not in told.err
    report: dict[str, Any] = json.loads((folder / "new/report.json").read_text())
    assert (report["files"], report["errors"], report["warnings"]) == ({"train": 12}, 1, 1)
    assert [finding["kind"] for finding in report["findings"]] == ["unreadable", "duplicate"]
    assert report["findings"][0]["detail"] == "it is empty"
    assert report["thresholds"]["fine_detail"] == MIN_DETAIL


def test_the_table_counts_the_files_that_it_omits(capsys: pytest.CaptureFixture[str]) -> None:
    found = [Finding("duplicate", "train", tuple("abcd"), "4 times the same picture")]
    found += [Finding("sizes", "train", ("e", "f"), "2 different sizes")]
    print_report(Console(width=200), as_json([], found, 1.0))
    told = capsys.readouterr().out
    assert "a = b = c and 1 more: 4 times the same picture" in told
    assert "e, f: 2 different sizes" in told
    assert "│ train │ 4     │ more than once" in told


def test_files_of_an_unknown_suffix_are_counted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.mov", "b.MOV", "c.mov", "d.mov", "notes.txt"):
        (folder / "train" / name).touch()
    with initialize_config_dir(version_base="1.3", config_dir=str(config_dir())):
        report = check_data(compose("check_data", [f"data.train_dir={folder}/train"]))
    capsys.readouterr()
    print_report(Console(width=400), report)
    assert "│ train │ 5     │ unknown image suffix" in capsys.readouterr().out
    ignored = {finding["detail"]: finding["files"] for finding in report["findings"]}
    paths = [f"{folder}/train/{name}" for name in ("a.mov", "b.MOV", "c.mov", "d.mov")]
    assert {detail: list(files) for detail, files in ignored.items()} == {
        "4 .mov": paths,
        "1 .txt": [f"{folder}/train/notes.txt"],
    }


def test_real_photos_are_neither_enlarged_nor_alike(shared: Callable[[str], Path]) -> None:
    paths = [*sorted(shared("data/photos").glob("*.jpg"))[::16], *sorted(shared("data/portraits").rglob("*.jpg"))[::20]]
    images = [Image.open(path).convert("RGB") for path in paths]
    assert all(fine_detail(image) > MIN_DETAIL for image in images)
    assert all(fine_detail(half(half(image, 0.25), 4)) < MIN_DETAIL for image in images)
    again = [half(image, 0.6) for image in images]
    count = len(images)
    assert sorted(same_pictures([fingerprint(image) for image in [*images, *again]])) == [
        [place, place + count] for place in range(count)
    ]
