"""Share the casts of weights between forward passes under autocast."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def shared_casts(device: torch.device) -> Iterator[None]:
    """Cast each weight once for all forward passes of this block, under Lightning's autocast.

    Lightning turns autocast's cache off, because the cache keeps the casts of weights that an optimiser step has
    changed since. No weight may change in this block; the cache is empty after it. Without autocast this does nothing.

    Args:
        device: the device of the networks.
    """
    if not torch.is_autocast_enabled(device.type):
        yield
        return
    dtype = torch.get_autocast_dtype(device.type)
    try:
        with torch.autocast(device.type, dtype=dtype, cache_enabled=True):
            yield
    finally:
        torch.clear_autocast_cache()
