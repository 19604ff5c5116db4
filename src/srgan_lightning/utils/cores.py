"""Count the CPU cores that processes and threads can use."""

import os
from fractions import Fraction
from typing import Any


def affinity() -> set[int]:
    """Return the CPU cores that this process may run on; all cores on systems without affinity, such as macOS."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def usable_cores() -> int:
    """Return the number of cores that this process may run on."""
    return len(affinity())


def share_of_cores(machine: int) -> int:
    """Return the number of cores that are this process's share, at least 1. A single process gets all its cores.

    Each core is divided among the processes on the same machine that may run on it. Cores to which SLURM or torchrun
    binds one process alone are not divided.

    All processes must call this, since it gathers from all of them.

    Args:
        machine: the number of this process's machine.
    """
    import torch.distributed as dist  # imported here, because commands without torch also count cores

    mine = (machine, affinity())
    if not (dist.is_available() and dist.is_initialized()):
        return len(mine[1])
    everyone: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(everyone, mine)
    rivals = [cores for other, cores in everyone if other == machine]
    return max(1, int(sum(Fraction(1, sum(core in cores for cores in rivals)) for core in mine[1])))
