"""How many processes or threads can work at once."""

import os


def usable_cores() -> int:
    """CPU cores that this process may run on; all of the machine's where the system has no such limit, as macOS."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
