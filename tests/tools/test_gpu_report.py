"""`benchmark --gpu-report`: a part that fails or hangs does not stop the others, and every named part exists."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import DictConfig

from srgan_lightning.benchmark import PARTS, main
from srgan_lightning.tools.benchmark import gpu_report as reporting
from srgan_lightning.tools.benchmark.gpu_report import Part, gpu_report, parts_of, slowest_step
from srgan_lightning.tools.benchmark.profile_step import profile_step
from srgan_lightning.tools.benchmark.timing import result
from tests.conftest import TINY_SRGAN

CPU = torch.device("cpu")


def figures(share: float) -> dict[str, Any]:
    seconds = {"ours": [0.5], "baseline": [1.0]}
    more = {"share_of_peak": share, "baseline_share_of_peak": 0.1, "matmul_peak": 1e12, "peak_memory": 2**30}
    more |= {"flops_per_image": 1e9, "baseline_flops_per_image": 2e9}
    return {"results": [result("train_step", "tiny", "bf16-mixed", "images/s", 8, seconds, **more)]}


def writes(text: str) -> tuple[str, ...]:
    return ("-c", f"import pathlib, sys; print('said'); pathlib.Path(sys.argv[1]).write_text({text!r})", "{json}")


@pytest.mark.slow
def test_a_part_that_fails_or_hangs_does_not_lose_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporting, "WHOLE", 60.0)
    # A part's single braces are placeholders for files, so braces of the figures are doubled.
    good = writes(json.dumps(figures(0.5)).replace("{", "{{").replace("}", "}}"))
    parts = [
        Part("good, one", good, 30),
        Part("bad", ("-c", "raise SystemExit(3)"), 30),
        Part("hangs", ("-c", "import time; time.sleep(60)"), 6),
        Part("torn", writes("[1, "), 30),
    ]
    start = time.monotonic()
    monkeypatch.setattr(reporting, "slowest_step", lambda parts: None)
    assert gpu_report(tmp_path / "out", CPU, quick=False, parts=parts) == 2
    assert time.monotonic() - start < 40
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert [p["status"] for p in report["parts"]] == ["ok", "exit code 3", "over 6 s", "ok"]
    assert report["parts"][0]["figures"] == figures(0.5)
    assert report["parts"][3]["figures"] == {}
    page = (tmp_path / "out/report.md").read_text()
    assert "| bad | exit code 3 |" in page
    assert "| good, one | train_step | tiny | bf16 | 16 | 8 | 2.00 | images/s | 1.0 GFLOP an image" in page
    assert "said" in (tmp_path / "out/good_one.log").read_text()


def test_parts_without_time_left_are_reported(tmp_path: Path) -> None:
    part = Part("late", ("-c", "raise SystemExit(3)"), 30)
    part.run(tmp_path, left=2)
    assert part.status == "no time left"


def test_the_slowest_step_is_the_one_to_profile() -> None:
    fast, slow, other = (Part(name, (), 1) for name in ("fast", "slow", "other"))
    fast.figures, slow.figures = figures(0.8), figures(0.3)
    assert slowest_step([fast, other, slow]) is slow
    assert slowest_step([other]) is None


@pytest.mark.slow
@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_its_commands_and_options_exist(configure: Callable[..., DictConfig], device: str) -> None:
    parts = parts_of(torch.device(device), quick=device == "cpu")
    assert len({part.name for part in parts}) == len(parts)
    ways = [part.name for part in parts if part.name.startswith("step, paper_srgan")]
    assert len(ways) == (4 if device == "cuda" else 2)
    for part in parts:
        words = list(part.command)
        asked = [words[i + 1] for i, word in enumerate(words) if word == "--only"]
        assert {*asked} <= {*PARTS}
        if "srgan_lightning.benchmark" in words or "srgan_lightning.train" in words:
            overrides = [word for word in words if "=" in word and not word.startswith("hydra.")]
            experiment = [f"experiment={words[words.index('--experiment') + 1]}"] if "--experiment" in words else []
            configure(*experiment, *overrides)


@pytest.mark.slow
def test_a_profile_names_the_operators(tmp_path: Path) -> None:
    words = ["experiment=paper_srgan", *TINY_SRGAN, "loss.vgg.layer=relu1_2", "data.crop=32"]
    profile_step(CPU, tmp_path / "profile.txt", words)
    text = (tmp_path / "profile.txt").read_text()
    assert "aten::mkldnn_convolution" in text or "aten::convolution" in text
    assert "Self CPU" in text


def test_the_command_runs_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(reporting, "gpu_report", lambda *given: asked.append(given) or 0)
    assert main(["--device", "cpu", "--quick", "--gpu-report", str(tmp_path)]) == 0
    assert asked == [(tmp_path, CPU, True)]
