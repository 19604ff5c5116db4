"""Measure functions alternately, and format results."""

import resource
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch

Seconds = dict[str, list[float]]
Result = dict[str, Any]


def measure(functions: dict[str, Callable[[], Any]], device: torch.device, rounds: int, warmup: int = 1) -> Seconds:
    """Measure the seconds of each call, alternating between functions so that other load affects all equally.

    Args:
        functions: the functions to time, by name.
        device: the device to synchronise before reading the clock.
        rounds: timed calls of each function.
        warmup: untimed calls of each function before the timed ones.
    """
    seconds: Seconds = {name: [] for name in functions}
    for number in range(warmup + rounds):
        for name, function in functions.items():
            start = clock(device)
            function()
            if number >= warmup:
                seconds[name].append(clock(device) - start)
            else:
                clock(device)
    return seconds


def clock(device: torch.device) -> float:
    """Synchronise with the device, and return the time in seconds."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def result(name: str, case: str, precision: str, unit: str, amount: float, seconds: Seconds, **more: Any) -> Result:
    """Return one line of the report: the speeds of `ours` and `baseline`, and their ratio.

    Args:
        name: the part of the benchmark.
        case: the measured case.
        precision: precision of `ours`, by its name in `trainer.precision`; the baseline usually runs in float32.
        unit: unit of the speed.
        amount: work per call, such as the number of images.
        seconds: times of the calls of `ours` and of `baseline`.
        more: further figures.
    """
    speeds = {way: [amount / s for s in seconds[way]] for way in ("ours", "baseline")}
    medians = {way: statistics.median(values) for way, values in speeds.items()}
    return {
        "name": name,
        "case": case,
        "precision": precision,
        **medians,
        "ratio": medians["ours"] / medians["baseline"],
        "unit": unit,
        **{f"{way}_spread": [min(values), max(values)] for way, values in speeds.items()},
        **more,
    }


def matmul_peak(device: torch.device, dtype: torch.dtype, quick: bool = False) -> float:
    """Measure the FLOP/s of a large square matrix product, as the peak of the device in `dtype`."""
    side = (8192 if device.type == "cuda" else 2048) // (4 if quick else 1)
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    seconds = measure({"product": lambda: a @ b}, device, rounds=3 if quick else 10)
    return 2 * side**3 / min(seconds["product"])


def reset_peak_memory(device: torch.device) -> None:
    """Reset the peak memory of a GPU; do nothing on a CPU."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> int:
    """Return the peak memory in bytes: on a GPU since the last reset, on a CPU since the process started."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
