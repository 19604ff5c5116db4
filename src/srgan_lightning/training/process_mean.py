"""Average state that differs between processes, such as BatchNorm statistics and accumulated gradients."""

import lightning
import torch
from torch import Tensor


@torch.no_grad()
def process_mean(trainer: lightning.Trainer, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Average tensors over all processes, in one message. All processes must call this.

    Args:
        trainer: the Trainer, with connected processes.
        tensors: tensors with the same names and shapes on each process; only floating-point ones are used.

    Returns:
        The means by name, each with its tensor's device, dtype and memory format. With one process, the tensors
        themselves.
    """
    floats = {name: tensor for name, tensor in tensors.items() if tensor.is_floating_point()}
    if trainer.world_size == 1 or not floats:
        return floats
    device = trainer.strategy.root_device
    message = torch.cat([tensor.to(device, torch.float32).flatten() for tensor in floats.values()])
    parts = trainer.strategy.reduce(message, reduce_op="mean").split([tensor.numel() for tensor in floats.values()])
    return {
        name: torch.empty_like(tensor).copy_(part.view(tensor.shape))
        for (name, tensor), part in zip(floats.items(), parts, strict=True)
    }
