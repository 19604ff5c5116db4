"""Share the casts of weights between forward passes under autocast."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def shared_casts(device: torch.device) -> Iterator[None]:
    """Cast each weight once for all forward passes of this block, under Lightning's autocast.

    Lightning turns autocast's cache off, because after an optimiser step the cache still holds casts of the old
    weights. So no weight may change in this block, and the cache is empty after it. Does nothing without autocast.

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
