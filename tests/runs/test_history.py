"""Rows of metrics.csv, whole and damaged."""

import csv
import io

import pytest

from srgan_lightning.runs.history import parse_history

WHOLE = "batch,step,val/psnr_y\r\n1,1,\r\n2,2,24.5\r\n"


def test_a_whole_file_is_read_as_by_the_standard_library() -> None:
    head, rows = parse_history(WHOLE)
    expected = csv.DictReader(io.StringIO(WHOLE, newline=""))
    assert list(rows) == list(expected)
    assert head == expected.fieldnames


@pytest.mark.parametrize("torn", ["3,3", "3,3,24.5,1", "3,x,24.5", '"3,3,24', "3,\0,24.5", "3,²,25", f"3,{10**20},1"])
def test_a_torn_row_is_left_out_and_the_next_is_read(torn: str) -> None:
    head, rows = parse_history(f"{WHOLE}{torn}\r\n4,4,25\r\n")
    assert [row["batch"] for row in rows] == ["1", "2", "4"]
    assert head == ["batch", "step", "val/psnr_y"]


@pytest.mark.parametrize("cut", range(len(WHOLE) + 1))
def test_a_file_cut_anywhere_has_only_whole_rows(cut: int) -> None:
    """A row without the end of its line may lack digits of its last number."""
    head, rows = parse_history(WHOLE[:cut])
    expected = [{"batch": "1", "step": "1", "val/psnr_y": ""}, {"batch": "2", "step": "2", "val/psnr_y": "24.5"}]
    ended = WHOLE[:cut].count("\r")
    assert list(rows) == expected[: max(ended - 1, 0)]
    assert head == (["batch", "step", "val/psnr_y"] if ended else [])


def test_nuls_after_the_last_row_leave_it_complete() -> None:
    expected = [*parse_history(WHOLE)[1]]
    assert [*parse_history(WHOLE + "\0" * 64)[1]] == expected
    assert expected


def test_an_empty_file_has_neither_columns_nor_rows() -> None:
    head, rows = parse_history("")
    assert (head, list(rows)) == ([], [])
