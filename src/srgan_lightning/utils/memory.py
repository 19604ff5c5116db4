"""Measure memory, detect that it ran out, and keep freed memory in the process."""

import ctypes
import platform
from contextlib import suppress
from pathlib import Path

import psutil
import torch

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # options of mallopt, from glibc's malloc.h
CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")  # a container's limit in bytes; `max` means no limit


def memory_of(device: torch.device) -> int:
    """Return the total memory of a GPU, or of the machine or container, in bytes."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    total: int = psutil.virtual_memory().total
    with suppress(OSError, ValueError):
        total = min(total, int(CGROUP_LIMIT.read_text()))
    return total


def available_memory() -> int:
    """Return the bytes that this process can still allocate: the least that machine, container and `ulimit` leave."""
    left: list[int] = [psutil.virtual_memory().available]
    with suppress(OSError, ValueError, KeyError):
        used = int(CGROUP_LIMIT.with_name("memory.current").read_text())
        counts = dict(line.split() for line in CGROUP_LIMIT.with_name("memory.stat").read_text().splitlines())
        cached = int(counts["inactive_file"])  # file cache, which the kernel frees when memory is short
        left.append(int(CGROUP_LIMIT.read_text()) - used + cached)
    with suppress(AttributeError):  # `ulimit -v`; not on Windows
        process = psutil.Process()
        limit = process.rlimit(psutil.RLIMIT_AS)[0]
        if limit != psutil.RLIM_INFINITY:
            left.append(limit - process.memory_info().vms)
    return max(min(left), 0)


def gigabytes(count: float) -> str:
    """Format a number of bytes, such as 1.5 GB."""
    return f"{count / 1e9:,.1f} GB"


def out_of_memory(error: BaseException) -> bool:
    """Check whether an error means that a GPU or the machine ran out of memory."""
    # CUDA has its own class; the CPU's allocator and MPS raise bare RuntimeErrors.
    words = ("out of memory", "can't allocate memory", "not enough memory")
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(text in str(error) for text in words)


def keep_freed_memory() -> bool:
    """Make glibc's malloc reuse freed memory instead of returning it to the system.

    A training step on a CPU frees and allocates the same gigabytes again and again. By default glibc returns each large
    block to the kernel. The kernel clears every page of the next block, which takes 6 to 9% of a step's time. This
    function has the same effect as `MALLOC_MMAP_MAX_=0` and `MALLOC_TRIM_THRESHOLD_=-1` in the environment. The effect
    lasts as long as the process.

    Returns:
        Whether this had an effect: False for another C library (macOS, Windows, musl).
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, -1))
