"""Names and messages from elsewhere never reach the terminal as control characters."""

import io
import pickle
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from rich.console import Console

from srgan_lightning.check_data import check_data
from srgan_lightning.cli.config import config_dir
from srgan_lightning.imaging.reading import find_images
from srgan_lightning.metrics.psnr_ssim import METRIC_NAMES
from srgan_lightning.metrics.tables import print_images
from srgan_lightning.tools.data_check.report import print_report
from srgan_lightning.utils.errors import UserError, printable
from tests.helpers.pictures import smooth


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("photo 1.png", "photo 1.png"),
        ("Grüße, 写真　1.png 😀", "Grüße, 写真　1.png 😀"),
        ("\x1b[2J\r\t\x00", r"\x1b[2J\r\t\x00"),
        ("\x9b31m\x7f", r"\x9b31m\x7f"),
        ("a\u202egnp.exe\u2028", r"a\u202egnp.exe\u2028"),
        (b"a\xff".decode(errors="surrogateescape"), r"a\udcff"),
    ],
)
def test_control_characters_are_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable(shown) == shown
    assert str(UserError(f"{text} is bad.")) == f"{shown} is bad."


def test_check_data_and_training_follow_links_and_escape_names(tmp_path: Path) -> None:
    """Each photo of an outside folder is found once, although the folder is linked twice and links back."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "elsewhere").mkdir()
    smooth(size=(64, 64)).save(tmp_path / "elsewhere/a.png")
    (tmp_path / "elsewhere/\x1b[2J.png").write_text("no image")
    for link in ("photos/far", "photos/far_again", "elsewhere/back"):
        (tmp_path / link).symlink_to(tmp_path / ("photos" if "back" in link else "elsewhere"))
    found = find_images(tmp_path / "photos", "data.train_dir")
    assert [path.relative_to(tmp_path).as_posix() for path in found] == ["photos/far/\x1b[2J.png", "photos/far/a.png"]
    with initialize_config_dir(version_base="1.3", config_dir=str(config_dir())):
        report = check_data(compose("check_data", [f"data.train_dir={tmp_path}/photos"]))
    text = io.StringIO()
    print_report(Console(file=text, width=200), report)
    assert r"\x1b[2J.png" in text.getvalue()
    assert "\x1b" not in text.getvalue()


def test_tables_of_scores_show_names_as_text() -> None:
    scores = {prefix + key: 1.0 for key in METRIC_NAMES for prefix in ("", "bicubic_")}
    text = io.StringIO()
    report = {"weights": "w", "set": "[/y]", "n": 1, **scores, "images": [{"name": "\x1b[2J[/x].png", **scores}]}
    print_images(Console(file=text, width=200), report)
    assert r"\x1b[2J[/x].png" in text.getvalue()


def test_a_user_error_is_one_paragraph() -> None:
    error = UserError("It does not fit: Error(s):\n\tMissing key(s): a\n\n  Unexpected: b\n")
    assert str(error) == "It does not fit: Error(s): Missing key(s): a Unexpected: b"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    wrapped = UserError(
        "Caught UserError in DataLoader worker process 0.\nTraceback:\nx.UserError: a\x1b.png is bad.\n"
    )
    assert str(wrapped) == r"a\x1b.png is bad."
