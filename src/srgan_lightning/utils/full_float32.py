"""Turn off TF32, which NVIDIA GPUs may use for float32 convolutions and matrix products."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def full_float32() -> Iterator[None]:
    """Compute in full float32.

    TF32 has 11 significant bits. Such results differ from those of a CPU by whole levels of 255.
    """
    cudnn = torch.backends.cudnn
    precision, tf32 = torch.get_float32_matmul_precision(), cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest")
    cudnn.allow_tf32 = False
    try:
        yield
    finally:
        cudnn.allow_tf32 = tf32
        torch.set_float32_matmul_precision(precision)
