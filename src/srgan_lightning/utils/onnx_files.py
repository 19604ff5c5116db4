"""Load ONNX files from untrusted sources: no other file is read, and only standard ONNX operators run."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from srgan_lightning.utils.errors import UserError
from srgan_lightning.utils.optional import needs_extra

MAX_BYTES = 2**31  # protobuf's limit
#: Domains of the standard operators; both names mean the same domain.
DOMAINS = ("", "ai.onnx")


def read_onnx(path: str | Path, setting: str) -> Any:
    """Read a model and check that it only uses standard operators and its own weights.

    Args:
        path: a file.
        setting: the option that named the file, for error messages.

    Returns:
        An `onnx.ModelProto`.

    Raises:
        UserError: the file is missing or not a model, keeps tensors in other files, or uses custom operators.
    """
    with needs_extra("export"):
        import onnx
        from google.protobuf.message import DecodeError
    file, again = Path(path), "Export the model as one file with standard ONNX operators."
    if not file.is_file():
        raise UserError(f"{setting}={path}: no such file (looked in {file.absolute()}).")
    if file.stat().st_size > MAX_BYTES:
        raise UserError(f"{setting}={path} is larger than 2 GB, the limit of ONNX files. {again}")
    try:
        model = onnx.load_model(file, load_external_data=False)
    except (DecodeError, ValueError, OSError) as error:
        raise UserError(f"{setting}={path} is not a complete ONNX model: {str(error)[:300]}. {again}") from error
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in _messages(model, onnx.TensorProto)):
        raise UserError(f"{setting}={path} keeps weights in other files, which for safety are not read. {again}")
    nodes = _messages(model, onnx.NodeProto)
    foreign = sorted({f"{node.domain}.{node.op_type}" for node in nodes if node.domain not in DOMAINS})
    if foreign or model.functions:
        names = ", ".join(foreign) or "model-local functions"
        raise UserError(
            f"{setting}={path} uses custom operators ({names[:300]}), which for safety are not run. {again}"
        )
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, ValueError) as error:
        raise UserError(f"{setting}={path} is not a valid ONNX model: {str(error)[:300]}. {again}") from error
    return model


def onnx_session(model: Any, setting: str) -> Any:
    """Return an `onnxruntime.InferenceSession` of a checked model on the CPU, with as many threads as torch.

    Raises:
        UserError: the runtime rejects the model.
    """
    with needs_extra("export"):
        import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = torch.get_num_threads(), 4
    try:
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no public base class
        raise UserError(f"{setting} cannot be run: {str(error)[:300]}") from error


def _messages(message: Any, kind: type) -> Iterator[Any]:
    """Yield all messages of a kind within a protobuf message, including subgraphs."""
    waiting = [message]
    while waiting:
        current = waiting.pop()
        if isinstance(current, kind):
            yield current
        for field, value in current.ListFields():
            if field.message_type is not None:
                waiting += [value] if hasattr(value, "ListFields") else list(value)
