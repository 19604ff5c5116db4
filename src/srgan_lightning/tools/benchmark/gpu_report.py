"""Measure everything that depends on the GPU in one call, each part in its own process with a time limit."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from srgan_lightning.tools.benchmark.report_page import write_page
from srgan_lightning.tools.benchmark.run import describe_device
from srgan_lightning.utils.files import write_text

WHOLE = 460.0  # seconds for all parts together, so that the report is finished within eight minutes
DRY = 4  # factor for the time limits of a dry run, which may use a slow machine
#: Overrides for tiny networks and images in a dry run.
TINY = (
    "model.generator.channels=8", "model.generator.blocks=1", "model.discriminator.channels=4",
    "model.discriminator.hidden=8", "loss.vgg.layer=relu1_2", "data.batch_size=2", "data.crop=64",
)  # fmt: skip
#: Overrides for each way of training that the report compares.
WAYS = {
    "float32": ("trainer.precision=32-true",),
    "bf16": ("trainer.precision=bf16-mixed",),
    "bf16, compiled": ("trainer.precision=bf16-mixed", "model.compile=true"),
    "bf16, CUDA graphs": ("trainer.precision=bf16-mixed", "model.compile=reduce-overhead"),
}
EXPERIMENTS = ("paper_srgan", "srgan_celeba")


@dataclass
class Part:
    """One process of the report.

    Args:
        name: name of the part, its log and its figures.
        command: words after the interpreter; `{json}` becomes the file for figures, `{dir}` the report's folder.
        limit: time limit in seconds.
    """

    name: str
    command: Sequence[str]
    limit: float
    status: str = "not run"
    seconds: float = 0.0
    figures: dict[str, Any] = field(default_factory=dict)

    def run(self, folder: Path, left: float) -> None:
        """Run the part with its output in `name`.log, and read its figures; a failure is recorded in `status`."""
        stem = self.name.replace(", ", "_").replace(" ", "_")
        figures = folder / f"{stem}.json"
        words = [word.format(json=figures, dir=folder) for word in self.command]
        limit, start = min(self.limit, left), time.monotonic()
        if limit < 5:
            self.status = "no time left"
            return
        with (folder / f"{stem}.log").open("w", encoding="utf-8") as log:
            process = subprocess.Popen(
                [sys.executable, *words], stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
            try:
                code = process.wait(limit)
                self.status = "ok" if code == 0 else f"exit code {code}"
            except subprocess.TimeoutExpired:
                self.status = f"over {limit:.0f} s"
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)  # the process and its workers
                    process.wait()
        self.seconds = time.monotonic() - start
        try:
            self.figures = json.loads(figures.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            self.figures = {}  # the part writes no figures, or was stopped


def parts_of(device: torch.device, quick: bool) -> list[Part]:
    """Return the parts of the report, short and important ones first, because the total time is limited.

    Args:
        device: a GPU, or a CPU for a dry run.
        quick: make a dry run, with tiny networks and few steps, to test every part.
    """
    gpu = device.type == "cuda"
    trainer = ("trainer=gpu",) if gpu else ("trainer=cpu",)
    short = ("--quick",) if quick else ()
    bench = ("-m", "srgan_lightning.benchmark", "--device", str(device), "--rounds", "3", *short, "--json", "{json}")
    train = ("-m", "srgan_lightning.train", *trainer, "hydra.run.dir={dir}/")
    tiny = TINY if quick else ()
    steps = {
        (name, way): Part(
            f"step, {name}, {way}",
            (*bench, "--only", "train_step", "--only", "fit", "--experiment", name, *tiny, *options),
            90,
        )
        for name in EXPERIMENTS
        for way, options in WAYS.items()
        # Compile only the first experiment, and only on a GPU: on a CPU the C++ compiler takes minutes.
        if "model.compile" not in str(options) or (gpu and name == EXPERIMENTS[0])
    }
    few = ("trainer.max_steps=4", "trainer.val_check_interval=4", "data.train_images=16", "data.val_images=2")
    ddp = ("trainer.devices=1", "trainer.strategy=ddp", *(("trainer.sync_batchnorm=true",) if gpu else ()))
    stage_one = ("experiment=srresnet_celeba", "data=synthetic", "data.size=128", "data.crop=64", *few)
    faces = ("experiment=faces_srresnet", "data=synthetic", "data.size=192", "data.batch_size=16")
    first, second = ([part for (name, _), part in steps.items() if name == wanted] for wanted in EXPERIMENTS)
    return [
        *first,
        Part("inference", (*bench, "--only", "inference", "--only", "evaluate"), 60),
        Part("tests", ("-m", "pytest", "-v", "-m", "gpu", "-p", "no:cacheprovider"), 200),
        Part("ddp", _into(train, "ddp", *stage_one, *ddp, *(TINY[:2] if quick else ())), 60),
        Part("input", (*bench, "--only", "input_pipeline", *tiny), 40),
        *second,
        Part(
            "training",
            _into(train, "training", *faces, *((*few, *TINY[:2]) if quick else ("trainer.max_time=00:00:02:50",))),
            200,
        ),
    ]


def _into(command: Sequence[str], name: str, *overrides: str) -> tuple[str, ...]:
    """Return the command of a training with the run directory `name` in the report's folder."""
    return (*command[:-1], f"{command[-1]}{name}", *overrides)


def gpu_report(folder: Path, device: torch.device, quick: bool, parts: Sequence[Part] | None = None) -> int:
    """Run all parts, and write `report.json`, `report.md` and `profile.txt` (the profile of the slowest step).

    Args:
        folder: folder for all files; created if it does not exist.
        device: see `parts_of`.
        quick: see `parts_of`.
        parts: parts to run instead of those of `parts_of`.

    Returns:
        The number of failed parts.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts, start = list(parts_of(device, quick) if parts is None else parts), time.monotonic()
    end = start + WHOLE * (DRY if quick else 1)
    for part in parts:
        part.limit *= DRY if quick else 1
        part.run(folder, end - time.monotonic())
        print(f"{part.name}: {part.status}, {part.seconds:.0f} s", flush=True)
    worst = slowest_step(parts)
    if worst is not None:
        options = [word for word in worst.command[worst.command.index("--experiment") + 2 :] if "=" in word]
        experiment = worst.command[worst.command.index("--experiment") + 1]
        words = (str(device), "{dir}/profile.txt", f"experiment={experiment}", *options)
        profile = Part(f"profile of {worst.name}", ("-m", "srgan_lightning.tools.benchmark.profile_step", *words), 60)
        profile.run(folder, end + 20 - time.monotonic())
        parts.append(profile)
    report = {
        "device": describe_device(device),
        "quick": quick,
        "seconds": time.monotonic() - start,
        "parts": [
            {"name": p.name, "status": p.status, "seconds": p.seconds, "command": [*p.command], "figures": p.figures}
            for p in parts
        ],
    }
    write_text(folder / "report.json", json.dumps(report, indent=2) + "\n")
    write_page(folder / "report.md", report)
    return sum(part.status != "ok" for part in parts)


def slowest_step(parts: Sequence[Part]) -> Part | None:
    """Return the training step with the lowest share of the device's peak throughput; None if none was measured."""

    def share(part: Part) -> float:
        rows = part.figures.get("results", [])
        return min((row["share_of_peak"] for row in rows if row["name"] == "train_step"), default=float("inf"))

    measured = [part for part in parts if share(part) < float("inf")]
    return min(measured, key=share, default=None)
