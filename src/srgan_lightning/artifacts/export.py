"""One trained generator as an ONNX graph, a `torch.export` program or an artifact, each checked before it is kept.

Each writer returns what it wrote as a function, read back from the file.
"""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor
from torch.export import Dim

from srgan_lightning.artifacts.artifact import describe, save_artifact, write_artifact
from srgan_lightning.artifacts.load import Trained, load_generator
from srgan_lightning.networks import Generator
from srgan_lightning.networks.contract import SRModule, traits_of
from srgan_lightning.utils.errors import UserError
from srgan_lightning.utils.optional import needs_extra

Upscaler = Callable[[Tensor], Tensor]
Size = tuple[int, int, int]  # batch, height, width

#: Batch, height, width of the LR that a file is checked with: odd, below the 9x9 kernels, and unlike `EXAMPLE`.
CHECKED_SIZES = ((1, 17, 31), (2, 32, 48), (3, 5, 7))
TOLERANCE = 1e-4
EXAMPLE = (2, 16, 20)  # no side of 1, which tracing would take for a constant
#: Side of LR, for networks whose windows tracing takes for constants: their files take one image of this size.
FIXED_SIDE = 64


def export(trained: Trained, form: str, path: str | Path) -> dict[tuple[int, int, int], float]:
    """Write a generator to a file that has been read back and run; a file that fails that is not left behind.

    Args:
        trained: the generator, on the CPU, and its metadata, which go into the file.
        form: onnx, torch_export, safetensors or safetensors16.
        path: the file; replaced where it exists.

    Returns:
        The greatest absolute difference from the generator's own output, by (batch, height, width) of LR.

    Raises:
        UserError: a package is missing, the file cannot be written, or its output differs by `TOLERANCE` or more.
    """
    path = Path(path)
    writer, suffix = FORMATS[form]
    if suffix == ".safetensors" and path.suffix != suffix:
        raise UserError(f"{path}: an artifact is recognised by its name; let it end in {suffix}.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as beside:
            partial = Path(beside) / f"{path.stem}{suffix}"
            try:
                exported = writer(trained, partial)
            except (RuntimeError, TypeError, ValueError, torch.onnx.OnnxExporterError) as error:
                if isinstance(trained.generator, Generator):
                    raise
                reason = " ".join(str(error).split())[:300]
                raise UserError(
                    f"{path} was not written: {type(trained.generator).__name__} cannot become {form}: {reason}. "
                    "Take --format safetensors."
                ) from error
            differences = compare(trained.generator, exported)
            wrong = [difference for difference in differences.values() if not difference < TOLERANCE]  # NaN is
            if wrong:
                raise UserError(
                    f"{path} was not written: as {form} the generator's output differs from torch's by {wrong[0]:.1e}, "
                    f"and {TOLERANCE:.0e} is allowed. If the weights are finite, versions do not fit together: "
                    "pip install -U '.[export]'."
                )
            partial.replace(path)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}.") from error
    return differences


@torch.no_grad()
def compare(generator: SRModule, exported: Upscaler) -> dict[tuple[int, int, int], float]:
    """The greatest absolute difference of two upscalers, at each of `CHECKED_SIZES`; NaN where a value is NaN."""
    noise = torch.Generator().manual_seed(0)
    differences = {}
    for batch, height, width in sizes_taken(generator, CHECKED_SIZES):
        lr = torch.rand(batch, 3, height, width, generator=noise)
        differences[batch, height, width] = float((exported(lr) - generator(lr)).abs().max())
    return differences


def fixed_side(generator: SRModule) -> int:
    """The one side of LR that an exported file takes; 0 where it takes any, as all but networks with windows do."""
    traits = traits_of(generator)
    multiple = traits.tile_multiple or traits.side_multiple
    return 0 if multiple == 1 else -(-max(FIXED_SIDE, traits.min_side) // multiple) * multiple


def sizes_taken(generator: SRModule, sizes: Iterable[Size]) -> list[Size]:
    """Batches, heights and widths that an exported file takes, from those that it might."""
    least, side = traits_of(generator).min_side, fixed_side(generator)
    return [(1, side, side)] if side else [(batch, max(h, least), max(w, least)) for batch, h, w in sizes]


def example(generator: SRModule) -> tuple[Tensor, bool]:
    """LR to trace with, and whether its sizes stand for any."""
    (batch, height, width), *_ = sizes_taken(generator, [EXAMPLE])
    return torch.rand(batch, 3, height, width), not fixed_side(generator)


def write_onnx(trained: Trained, path: Path) -> Upscaler:
    """An ONNX graph `lr` -> `sr` in one file, BatchNorm folded into the convolutions; runs in onnxruntime."""
    with needs_extra("export"):
        import onnx  # noqa: F401  # the exporter imports these two by itself, with a longer error
        import onnxruntime
        import onnxscript  # noqa: F401
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
    assert program is not None  # None is what the old exporter gives
    program.model.metadata_props.update(metadata(trained))
    program.save(path, external_data=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda lr: torch.from_numpy(session.run(["sr"], {"lr": lr.numpy()})[0])


def write_program(trained: Trained, path: Path) -> Upscaler:
    """A `torch.export` program; `torch.export.load(path).module()` runs it, `extra_files` holds metadata.json."""
    lr, any_size = example(trained.generator)
    sizes = {0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC}
    with torch.no_grad():
        program = torch.export.export(trained.generator, (lr,), dynamic_shapes=(sizes,) if any_size else None)
    torch.export.save(program, path, extra_files={"metadata.json": json.dumps(metadata(trained), indent=2)})
    upscaler: Upscaler = torch.export.load(path).module()
    return upscaler


def write_safetensors(trained: Trained, path: Path) -> Upscaler:
    """The artifact of a checkpoint, or of an artifact again."""
    save_artifact(path, trained.generator, trained.metadata)
    return load_generator(path)


def write_half(trained: Trained, path: Path) -> Upscaler:
    """An artifact of half the size, its convolutions rounded to float16; so is the generator that it is checked by."""
    weights = trained.generator.state_dict()
    for name, tensor in weights.items():
        if tensor.ndim > 1:  # biases and BatchNorm are small, and some of their values too small for float16
            weights[name] = tensor.half()
            tensor.copy_(weights[name])
    write_artifact(path, weights, trained.metadata["architecture"], trained.generator.arguments, trained.metadata)
    return load_generator(path)


def metadata(trained: Trained) -> dict[str, str]:
    """The artifact's metadata, and what goes in and comes out."""
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
