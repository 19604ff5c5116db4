"""Save and restore the RNG states of a process, for checkpoints.

Data and degradation do not use these RNGs (see `data.datasets.SeededSampler`). `DiffAugment` does, and dropout or noise
in a network would.
"""

import random
from typing import Any

import numpy as np
import torch


def capture(device: torch.device) -> dict[str, Any]:
    """Return the states of Python's, NumPy's and torch's RNGs as plain values, which load with weights_only."""
    version, internal, gauss = random.getstate()
    name, keys, *rest = np.random.get_state(legacy=True)
    # Numbers are stored as tensors, because pickling a thousand of them takes longer than writing a small checkpoint.
    state: dict[str, Any] = {
        "python": (version, torch.tensor(internal), gauss),
        "numpy": (name, torch.tensor(np.asarray(keys, dtype=np.int64)), *rest),
        "torch": torch.get_rng_state(),
    }
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def restore(state: dict[str, Any], device: torch.device) -> None:
    """Restore the RNGs to a captured state."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal.tolist()), gauss))
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state["torch"].cpu())
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"].cpu(), device)
