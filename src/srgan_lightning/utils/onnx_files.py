"""ONNX files of strangers: nothing beside the file is read, and only ONNX's own operators run."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from srgan_lightning.utils.errors import UserError
from srgan_lightning.utils.optional import needs_extra

MAX_BYTES = 2**31  # what protobuf holds
DOMAINS = ("", "ai.onnx")


def read_onnx(path: str | Path, setting: str) -> Any:
    """Read a model and check what it would make its runtime do.

    Args:
        path: a file.
        setting: the option that named it, for the error.

    Returns:
        An `onnx.ModelProto`.

    Raises:
        UserError: the file is missing or no model, keeps tensors in other files, or has operators that are not ONNX's.
    """
    with needs_extra("export"):
        import onnx
        from google.protobuf.message import DecodeError
    file, again = Path(path), "Get the model as one file of ONNX's own operators."
    if not file.is_file():
        raise UserError(f"{setting}={path}: no such file (looked in {file.absolute()}).")
    if file.stat().st_size > MAX_BYTES:
        raise UserError(f"{setting}={path} is larger than an ONNX file can be, 2 GB. {again}")
    try:
        model = onnx.load_model(file, load_external_data=False)
    except (DecodeError, ValueError, OSError) as error:
        raise UserError(f"{setting}={path} is not a whole ONNX model: {str(error)[:300]}. {again}") from error
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in _messages(model, onnx.TensorProto)):
        raise UserError(f"{setting}={path} keeps weights in other files, which could be any of this machine. {again}")
    nodes = _messages(model, onnx.NodeProto)
    foreign = sorted({f"{node.domain}.{node.op_type}" for node in nodes if node.domain not in DOMAINS})
    if foreign or model.functions:
        names = ", ".join(foreign) or "functions of its own"
        raise UserError(f"{setting}={path} needs custom operators ({names[:300]}), which are not run. {again}")
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, ValueError) as error:
        raise UserError(f"{setting}={path} is not a valid ONNX model: {str(error)[:300]}. {again}") from error
    return model


def onnx_session(model: Any, setting: str) -> Any:
    """An `onnxruntime.InferenceSession` of a checked model on the CPU, with as many threads as torch.

    Raises:
        UserError: the runtime does not take the model.
    """
    with needs_extra("export"):
        import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = torch.get_num_threads(), 4
    try:
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no public base class
        raise UserError(f"{setting} cannot be run: {str(error)[:300]}") from error


def _messages(message: Any, kind: type) -> Iterator[Any]:
    """All messages of a kind within a protobuf message, those of subgraphs too."""
    waiting = [message]
    while waiting:
        current = waiting.pop()
        if isinstance(current, kind):
            yield current
        for field, value in current.ListFields():
            if field.message_type is not None:
                waiting += [value] if hasattr(value, "ListFields") else list(value)
