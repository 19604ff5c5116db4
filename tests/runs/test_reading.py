"""Labels and states of runs, from their directories."""

from pathlib import Path

import pytest

from srgan_lightning.runs.reading import Run, find_runs

ERROR = "[2026-01-01 00:00:00,000][srgan_lightning.cli.errors][ERROR] - The run failed. {}\n"
START = "[2026-01-01 00:00:00,000] 16 images per update (data.batch_size 16, processes 1, accumulated 1).\n"


def test_labels_keep_integers_and_round_other_numbers(tmp_path: Path) -> None:
    for number, value in enumerate(["12345", "12346", "0.00123456789", "1234.5", "null"]):
        (tmp_path / f"{number}/.hydra").mkdir(parents=True)
        (tmp_path / f"{number}/.hydra/overrides.yaml").write_text(f"- a.b={value}\n")
    assert [run.label for run in find_runs(tmp_path)] == ["b=12345", "b=12346", "b=0.00123", "b=1.23e+03", "b=null"]


@pytest.mark.parametrize(
    ("log", "failure"),
    [
        (START + ERROR.format("first"), "first"),
        (START + ERROR.format("first") + START, ""),  # resumed
        (START + ERROR.format("first") + START + ERROR.format("second"), "second"),
        (START + ERROR.format("first") + ERROR.format("before training"), "before training"),
        (ERROR.format("1 images per update"), "1 images per update"),
    ],
)
def test_only_errors_of_the_last_start_count(tmp_path: Path, log: str, failure: str) -> None:
    (tmp_path / "train.log").write_text(log)
    run = Run(tmp_path)
    assert (run.failure, run.state) == (failure, "failed" if failure else "unfinished")
