"""Profile a training step: `python -m srgan_lightning.tools.benchmark.profile_step DEVICE FILE ...`."""

import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from srgan_lightning.tools.benchmark.setup import build_module, configure, draw_celeba, with_bare_step
from srgan_lightning.tools.benchmark.timing import clock
from srgan_lightning.training.build import build_data
from srgan_lightning.utils.files import write_text
from srgan_lightning.utils.logging import silence_lightning

WARMUP, STEPS, ROWS = 3, 3, 40


def profile_step(device: torch.device, path: Path, overrides: Sequence[str]) -> None:
    """Write a table of the operators in a few steps of an experiment, the most expensive first.

    Args:
        device: the device.
        path: the text file to write.
        overrides: overrides of conf/train.yaml, `experiment=...` first.
    """
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if device.type == "cuda" else [])
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "celeba"
        draw_celeba(root, 64)
        cfg = configure(root, device, overrides)
        module, data = build_module(cfg), build_data(cfg)

        def work(step: Callable[[], None]) -> str:
            for _ in range(WARMUP):
                step()
            clock(device)
            with profile(activities=activities) as seen:
                for _ in range(STEPS):
                    step()
                clock(device)
            order = f"self_{'device' if device.type == 'cuda' else 'cpu'}_time_total"
            return str(seen.key_averages().table(sort_by=order, row_limit=ROWS))

        write_text(path, with_bare_step(cfg, module, data, work) + "\n")


def main() -> None:
    """Profile from a command line with the device, the text file, and overrides of conf/train.yaml."""
    silence_lightning()
    profile_step(torch.device(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])


if __name__ == "__main__":
    main()
