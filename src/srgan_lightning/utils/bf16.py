"""Find out whether a device computes in bf16 faster than in float32."""

from collections.abc import Mapping
from typing import Any

import torch

#: Instruction sets that multiply bf16, by their names in `torch.cpu.get_capabilities`.
CPU_FEATURES = {"avx512_bf16": "AVX512_BF16", "amx_bf16": "AMX"}


def fast_bf16(device: torch.device) -> tuple[bool, str]:
    """Check whether PyTorch can use bf16 instructions of a device. Otherwise bf16 is emulated, and slower than float32.

    Args:
        device: a CPU, or an existing GPU.

    Returns:
        Whether it can, and the reason, phrased to follow the word "since".
    """
    if device.type == "cuda":
        major, minor = torch.cuda.get_device_capability(device)
        name = torch.cuda.get_device_name(device)
        return major >= 8, f"{name} has compute capability {major}.{minor}" + (", below 8.0" if major < 8 else "")
    if device.type != "cpu":
        return False, f"{device.type} devices are not known to have fast bf16"
    known = cpu_capabilities()
    found = [name for key, name in CPU_FEATURES.items() if known.get(key)]
    if not found:
        return False, f"this CPU has no {' or '.join(CPU_FEATURES.values())}"
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False, "this build of PyTorch has no oneDNN"
    return True, f"this CPU has {' and '.join(found)}"


def choose_precision(precision: str, device: torch.device) -> str:
    """Replace the precision `auto` by `bf16` where the device has it in hardware, else by `32`; keep other values."""
    if precision != "auto":
        return precision
    return "bf16" if fast_bf16(device)[0] else "32"


def cpu_capabilities() -> Mapping[str, Any]:
    """Return the CPU features that PyTorch detects, by name."""
    if hasattr(torch.cpu, "get_capabilities"):
        return torch.cpu.get_capabilities()  # type: ignore[no-any-return]
    # Older releases of PyTorch have one function per feature.
    functions = {"avx512_bf16": "_is_avx512_bf16_supported", "amx_bf16": "_is_amx_tile_supported"}
    return {key: getattr(torch.cpu, name, bool)() for key, name in functions.items()}
