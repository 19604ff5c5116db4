"""What can never fit into memory, told before any of it is taken: a kernel that runs out kills without a word."""

import os
from pathlib import Path

import torch

CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")  # of a container; `max` where there is none


def memory_of(device: torch.device) -> int:
    """Bytes that a device, or the machine, has in all, used or not."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        return min(total, int(CGROUP_LIMIT.read_text()))
    except (OSError, ValueError):
        return total


def gigabytes(count: float) -> str:
    """A count of bytes for people."""
    return f"{count / 1e9:,.1f} GB"
