"""Convert an ONNX graph to float16 weights and arithmetic."""

import sys
from typing import Any

from srgan_lightning.utils.optional import needs_extra


def to_half(model: Any) -> Any:
    """Convert a float32 graph to float16.

    Its inputs and outputs stay float32, so that programs that run the graph need not change.

    Args:
        model: an `onnx.ModelProto`; may be changed in place.
    """
    path = sys.path.copy()
    with needs_extra("export"):
        import onnx_ir
        from onnxruntime.transformers.float16 import convert_float_to_float16
    # The import adds the folder of onnxruntime.transformers to sys.path.
    # Modules in that folder, such as benchmark.py, could be imported in place of others.
    sys.path[:] = path
    half = onnx_ir.from_proto(convert_float_to_float16(model, keep_io_types=True))
    half.graph.sort()  # the converter appends casts at the end: onnxruntime accepts that order, but ONNX forbids it
    return onnx_ir.to_proto(half)
