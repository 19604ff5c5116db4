"""Convert an ONNX graph to float16 weights and arithmetic."""

import sys
from typing import Any

from srgan_lightning.utils.optional import needs_extra


def to_half(model: Any) -> Any:
    """Convert a float32 graph; its inputs and outputs stay float32, so that programs need not change.

    Args:
        model: an `onnx.ModelProto`; may be changed in place.
    """
    path = sys.path.copy()
    with needs_extra("export"):
        import onnx_ir
        from onnxruntime.transformers.float16 import convert_float_to_float16
    sys.path[:] = path  # the import adds its own folder, with names such as benchmark.py
    half = onnx_ir.from_proto(convert_float_to_float16(model, keep_io_types=True))
    half.graph.sort()  # casts are at the end, which onnxruntime accepts, but ONNX forbids
    return onnx_ir.to_proto(half)
