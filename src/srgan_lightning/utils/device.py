"""Choose a device by its name."""

import torch

from srgan_lightning.utils.errors import UserError


def find_device(name: str) -> torch.device:
    """Return the device called `auto` (a CUDA GPU or else the CPU), `cpu`, `cuda`, `cuda:1` or `mps`.

    Raises:
        UserError: the name is unknown, or the machine has no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"device={name} is unknown: use auto, cpu, cuda, cuda:1 or mps.") from error
    found = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if (device.index or 0) >= found.get(device.type, 0):
        raise UserError(
            f"device={name}: this machine has no such device ({found['cuda']} CUDA devices); use device=cpu."
        )
    return device
