"""How many processes or threads can work at once."""

import os
from fractions import Fraction
from typing import Any


def affinity() -> set[int]:
    """CPU cores that this process may run on; all of the machine's where the system has no such limit, as macOS."""
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def usable_cores() -> int:
    """How many cores this process may run on."""
    return len(affinity())


def share_of_cores(machine: int) -> int:
    """The cores that one of several connected processes can count on; all that it may use where it is alone.

    Each core is divided among the processes of its machine that may run on it. SLURM and torchrun can bind a process to
    cores of its own, which are not divided again.

    Args:
        machine: the number of this process's machine. All processes must call this: it gathers from all of them.
    """
    import torch.distributed as dist  # here: commands that need no torch count cores too

    mine = (machine, affinity())
    if not (dist.is_available() and dist.is_initialized()):
        return len(mine[1])
    everyone: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(everyone, mine)
    rivals = [cores for other, cores in everyone if other == machine]
    return int(sum(Fraction(1, sum(core in cores for cores in rivals)) for core in mine[1]))
