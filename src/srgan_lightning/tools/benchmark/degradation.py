"""Measure the cost of degradation relative to the training step."""

import statistics
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch

from srgan_lightning.tools.benchmark.setup import build_module, configure, load_batch, with_bare_step
from srgan_lightning.tools.benchmark.timing import Result, Seconds, measure, result
from srgan_lightning.training.build import build_data

DEGRADATIONS = ("faces", "real")


def degradation(root: Path, device: torch.device, overrides: Sequence[str], rounds: int) -> list[Result]:
    """Measure augmentation and degradation of one batch, alternating with the bare training step on bicubic LR.

    Args:
        root: see `configure`.
        device: the device.
        overrides: Hydra overrides, with `trainer.precision` for the step; degradations compute in float32.
        rounds: timed calls of each function.

    Returns:
        Images per second of degradation and of the step; `share_of_step` is degradation's time relative to the step's.
    """
    cfg = configure(root, device, [*overrides, "degradation=bicubic"])
    module, data = build_module(cfg), build_data(cfg)
    ways: dict[str, Callable[[], object]] = {}
    for name in DEGRADATIONS:
        degrading = build_data(configure(root, device, [*overrides, f"degradation={name}"]))
        batch = degrading.transfer_batch_to_device(load_batch(degrading), device, 0)
        ways[name] = partial(degrading.on_after_batch_transfer, batch, 0)

    def work(step: Callable[[], None]) -> Seconds:
        return measure({"baseline": step, **ways}, device, rounds)

    seconds: Seconds = with_bare_step(cfg, module, data, work)
    step = statistics.median(seconds["baseline"])
    return [
        result(
            "degradation",
            f"{name}, {cfg.name}, crop {cfg.data.crop} x {data.batch_size}",
            str(cfg.trainer.precision),
            "images/s",
            data.batch_size,
            {"ours": seconds[name], "baseline": seconds["baseline"]},
            share_of_step=statistics.median(seconds[name]) / step,
        )
        for name in DEGRADATIONS
    ]
