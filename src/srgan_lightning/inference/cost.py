"""Measure time, memory and number of weights of generators, which take turns on the same image."""

import statistics
import time
import weakref
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

#: Side of LR in pixels, large enough to keep a CPU or a GPU busy.
CPU_SIDE, GPU_SIDE = 64, 256
ROUNDS = 3


class PeakTensors(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's has no annotations
    """A context manager that records the peak size in bytes of all living tensors created inside it.

    The memory of the whole process would be too large: it includes memory that the allocator kept from earlier work.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.alive: dict[int, int] = {}
        self.now = self.peak = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        known = {leaf.untyped_storage()._cdata for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                storage = leaf.untyped_storage()
                key = storage._cdata
                if key not in known and key not in self.alive:  # views and in-place results have no memory of their own
                    self.alive[key] = storage.nbytes()
                    self.now += storage.nbytes()
                    weakref.finalize(storage, self._free, key)
        self.peak = max(self.peak, self.now)
        return result

    def _free(self, key: int) -> None:
        self.now -= self.alive.pop(key, 0)


def peak_bytes(function: Callable[[], Any], device: torch.device) -> int:
    """Return the peak memory in bytes of the tensors that a call creates; on CUDA, PyTorch's allocator counts them."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        function()
        torch.cuda.synchronize(device)
        return int(torch.cuda.max_memory_allocated(device) - before)
    memory = PeakTensors()
    with memory:
        function()
    return memory.peak


@torch.inference_mode()
def measure_costs(
    upscalers: Mapping[str, Callable[[Tensor], Tensor]], device: torch.device, scale: int
) -> dict[str, dict[str, float]]:
    """Measure seconds and megabytes per megapixel of SR.

    Args:
        upscalers: functions by name. Each maps LR (1, 3, h, w) to SR, both on the CPU.
        device: the device on which the upscalers run.
        scale: upscaling factor.

    Returns:
        The costs by name. `seconds_per_megapixel` is the median of a few alternating calls after a warm-up.
        `megabytes_per_megapixel` is the peak memory without the weights.
    """
    side = GPU_SIDE if device.type == "cuda" else CPU_SIDE
    lr = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    megapixels = (scale * side) ** 2 / 1e6
    seconds: dict[str, list[float]] = {name: [] for name in upscalers}
    memory = {name: peak_bytes(partial(upscale, lr), device) for name, upscale in upscalers.items()}
    for number in range(1 + ROUNDS):  # the first round is the warm-up
        for name, upscale in upscalers.items():
            start = time.perf_counter()
            upscale(lr)  # the result is on the CPU, so no synchronisation is needed
            if number:
                seconds[name].append(time.perf_counter() - start)
    return {
        name: {
            "seconds_per_megapixel": statistics.median(seconds[name]) / megapixels,
            "megabytes_per_megapixel": memory[name] / 1e6 / megapixels,
        }
        for name in upscalers
    }


def count_weights(network: nn.Module) -> int:
    """Count the learnt parameters of a network, without BatchNorm statistics."""
    return sum(parameter.numel() for parameter in network.parameters())
