"""Measuring in turns, and the shape of a result."""

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
    """Seconds of each call, taken in turns, so that whatever else the machine does falls on all alike.

    Args:
        functions: what to time, by name.
        device: waited for before the clock is read.
        rounds: timed calls of each.
        warmup: calls of each before these, which do not count.
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
    """Seconds, once the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def result(name: str, case: str, precision: str, unit: str, amount: float, seconds: Seconds, **more: Any) -> Result:
    """One line of the report: the speeds of `ours` and `baseline`, and their ratio.

    Args:
        name: the part of the benchmark.
        case: what was measured in it.
        precision: of `ours`, as `trainer.precision` names it; the baseline's is float32, unless the part says else.
        unit: of a speed.
        amount: how much of it one call does.
        seconds: of each call of `ours` and of `baseline`, taken in turns.
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
    """FLOP/s of a large square matrix product, the most that this device gives in that precision."""
    side = (8192 if device.type == "cuda" else 2048) // (4 if quick else 1)
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    seconds = measure({"product": lambda: a @ b}, device, rounds=3 if quick else 10)
    return 2 * side**3 / min(seconds["product"])


def reset_peak_memory(device: torch.device) -> None:
    """Forget the peak so far, where the device can."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> int:
    """Bytes: of a GPU since the last reset, of a CPU's process since its start."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
