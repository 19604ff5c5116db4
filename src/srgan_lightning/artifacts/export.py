"""Export a trained generator as an ONNX graph, a `torch.export` program or an artifact, and check the file.

Each writer returns a function that runs the network in the written file.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor
from torch.export import Dim

from srgan_lightning.artifacts.artifact import describe, save_artifact, write_artifact
from srgan_lightning.artifacts.export_check import (
    TOLERANCES,
    Differences,
    Upscaler,
    compare,
    fixed_side,
    sizes_taken,
)
from srgan_lightning.artifacts.load import Trained, load_generator
from srgan_lightning.artifacts.onnx_half import to_half
from srgan_lightning.networks import Generator
from srgan_lightning.networks.contract import SRModule, traits_of
from srgan_lightning.utils.errors import UserError
from srgan_lightning.utils.optional import needs_extra

PRECISIONS = {"32": "float32", "fp16": "float16 inside, float32 at both ends"}
EXAMPLE = (2, 16, 20)  # batch, height and width of LR for tracing, which would treat a size of 1 as a constant


def export(
    trained: Trained,
    form: str,
    path: str | Path,
    precision: str = "32",
    photos: Mapping[str, Tensor] | None = None,
) -> Differences:
    """Write a generator to a file, load the file, and compare its output with the generator's.

    If the output differs too much, nothing is written, and an existing file stays.

    Args:
        trained: the generator on the CPU, and its metadata, which is stored in the file. `safetensors16` rounds the
            generator's weights too.
        form: onnx, torch_export, safetensors or safetensors16.
        path: the file; an existing one is replaced.
        precision: 32 or fp16, for weights and arithmetic of an ONNX graph; LR and SR are float32 in both cases.
        photos: further LR images for the check, see `export_check.read_photos`.

    Returns:
        The differences between the output and the generator's output in float32.

    Raises:
        UserError: a package is missing, the file cannot be written, its output differs by at least the tolerance of the
            precision, the format or the network does not support the precision, a user's class cannot be exported in
            this format, or an artifact's name has another suffix.
    """
    path = Path(path)
    writer, suffix = FORMATS[form]
    check_precision(trained, form, precision)
    if suffix == ".safetensors" and path.suffix != suffix:
        raise UserError(f"{path}: an artifact is recognised by its suffix. Use a name that ends in {suffix}.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as beside:
            partial = Path(beside) / f"{path.stem}{suffix}"
            try:
                exported = write_onnx(trained, partial, precision) if form == "onnx" else writer(trained, partial)
                differences = compare(trained.generator, exported, photos or {})
            except (UserError, OSError):
                raise
            except Exception as error:  # a user's class and the runtime of its graph may raise anything
                if isinstance(trained.generator, Generator):
                    raise
                reason = " ".join(str(error).split())[:300]
                raise UserError(
                    f"{path} was not written: {type(trained.generator).__name__} cannot be exported as {form}: "
                    f"{reason}. Use --format safetensors."
                ) from error
            check_differences(differences, TOLERANCES[precision], f"{path} was not written: as {form}")
            if form == "onnx":
                add_differences(partial, differences)
            partial.replace(path)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}.") from error
    return differences


def check_precision(trained: Trained, form: str, precision: str) -> None:
    """Raise UserError if the format or the network does not support the precision."""
    if precision == "32":
        return
    if form != "onnx":
        raise UserError(
            f"--precision {precision} works only with --format onnx. For an artifact of half the size, use --format "
            "safetensors16."
        )
    if not traits_of(trained.generator).supports_half:
        raise UserError(f"--precision {precision}: this network does not work in float16. Leave --precision out.")


def check_differences(differences: Differences, tolerance: float, what: str) -> None:
    """Raise UserError if the file's output differs from torch's by the tolerance or more, or is NaN.

    Args:
        differences: the measured differences.
        tolerance: limit for values in about 0..1.
        what: start of the error message, which names the file.
    """
    for (_, height, width), difference in differences.noise.items():
        if not difference < tolerance:  # `not <` also catches NaN
            raise UserError(
                f"{what} the generator's output differs from torch's by {difference:.1e} for noise of {width}x{height} "
                f"pixels, and {tolerance:.0e} is allowed. Either the network overflows in half precision (leave "
                "--precision out), or package versions do not match (pip install -U '.[export]')."
            )
    for photo in differences.photos:
        if not photo.greatest < 255 * tolerance:
            raise UserError(
                f"{what} the generator's output differs from torch's by {photo.greatest:.2g} levels of 255 for "
                f"{photo.name}, and {255 * tolerance:.2g} are allowed: leave --precision out, or pip install -U "
                "'.[export]'."
            )


def example(generator: SRModule) -> tuple[Tensor, bool]:
    """Return LR for tracing, and whether its sizes are dynamic."""
    (batch, height, width), *_ = sizes_taken(generator, [EXAMPLE])
    return torch.rand(batch, 3, height, width), not fixed_side(generator)


def write_onnx(trained: Trained, path: Path, precision: str = "32") -> Upscaler:
    """Write an ONNX graph `lr` -> `sr` in one file, with BatchNorm folded into the convolutions.

    The returned function runs the graph with onnxruntime.
    """
    with needs_extra("export"):
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401  # imported here because the exporter's own error is longer
    lr, any_size = example(trained.generator)
    program = torch.onnx.export(
        trained.generator,
        (lr,),
        dynamo=True,
        verbose=False,
        input_names=["lr"],
        output_names=["sr"],
        dynamic_shapes=({0: Dim("batch"), 2: Dim("height"), 3: Dim("width")},) if any_size else None,
    )
    assert program is not None  # only the old exporter returns None
    program.model.metadata_props.update({**metadata(trained), "precision": PRECISIONS[precision]})
    model = program.model_proto
    onnx.save_model(model if precision == "32" else to_half(model), path)
    options = onnxruntime.SessionOptions()
    # Only errors, because onnxruntime would warn of each float16 node that it computes in float32.
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda lr: torch.from_numpy(session.run(["sr"], {"lr": lr.numpy()})[0])


def add_differences(path: Path, differences: Differences) -> None:
    """Record the differences from torch on noise in an ONNX file's metadata, by size of LR."""
    import onnx

    model = onnx.load_model(path)
    noise = {f"{batch}x3x{height}x{width}": value for (batch, height, width), value in differences.noise.items()}
    entry = model.metadata_props.add()
    entry.key, entry.value = "difference", json.dumps(noise)
    onnx.save_model(model, path)


def write_program(trained: Trained, path: Path) -> Upscaler:
    """Write a `torch.export` program, with metadata.json in its `extra_files`.

    The returned function is `torch.export.load(path).module()`.
    """
    lr, any_size = example(trained.generator)
    sizes = {0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC}
    with torch.no_grad():
        program = torch.export.export(trained.generator, (lr,), dynamic_shapes=(sizes,) if any_size else None)
    torch.export.save(program, path, extra_files={"metadata.json": json.dumps(metadata(trained), indent=2)})
    upscaler: Upscaler = torch.export.load(path).module()
    return upscaler


def write_safetensors(trained: Trained, path: Path) -> Upscaler:
    """Write an artifact."""
    save_artifact(path, trained.generator, trained.metadata)
    return load_generator(path)


def write_half(trained: Trained, path: Path) -> Upscaler:
    """Write an artifact of half the size, with all floating-point tensors of more than one dimension in float16.

    The weights of `trained` are rounded too, so that the comparison does not count the rounding.
    """
    weights = trained.generator.state_dict()
    for name, tensor in weights.items():
        # Biases and BatchNorm take little space, and some of their values underflow in float16.
        if tensor.ndim > 1 and tensor.is_floating_point():
            weights[name] = tensor.half()
            tensor.copy_(weights[name])
    write_artifact(path, weights, trained.metadata["architecture"], trained.generator.arguments, trained.metadata)
    return load_generator(path)


def metadata(trained: Trained) -> dict[str, str]:
    """Return the artifact's metadata with descriptions of input and output."""
    scale, side = trained.generator.scale, fixed_side(trained.generator)
    shapes = ("(batch, 3, height, width)", f"(batch, 3, {scale} * height, {scale} * width)")
    if side:
        shapes = (f"(1, 3, {side}, {side})", f"(1, 3, {scale * side}, {scale * side})")
    return {
        **describe(trained.metadata["architecture"], trained.generator.arguments, trained.metadata),
        "input": f"lr: float32 {shapes[0]}, RGB 0..1",
        "output": f"sr: float32 {shapes[1]}, RGB, not clamped to 0..1",
    }


FORMATS: dict[str, tuple[Callable[[Trained, Path], Upscaler], str]] = {
    "onnx": (write_onnx, ".onnx"),
    "torch_export": (write_program, ".pt2"),
    "safetensors": (write_safetensors, ".safetensors"),
    "safetensors16": (write_half, ".safetensors"),
}
