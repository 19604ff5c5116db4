"""Check everything before training starts: options, memory for batches, and the checkpoint."""

from math import prod
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from srgan_lightning.artifacts.artifact import check_architecture, read_checkpoint
from srgan_lightning.data.datamodule import SuperResolutionData
from srgan_lightning.networks.contract import SRModule, traits_of
from srgan_lightning.runs.checkpoint_io import verify_checkpoint
from srgan_lightning.runs.resume import is_rank_zero
from srgan_lightning.training import processes
from srgan_lightning.training.module import SuperResolutionModule
from srgan_lightning.training.precision import AUTO, PRECISIONS
from srgan_lightning.utils.errors import UserError
from srgan_lightning.utils.memory import gigabytes, memory_of

#: Modes of torch.compile that keep gradients in the memory of CUDA graphs.
CUDA_GRAPH_MODES = ("reduce-overhead", "max-autotune")


def preflight(
    cfg: DictConfig, data: SuperResolutionData, model: SuperResolutionModule, checkpoint: str | None
) -> dict[str, Any]:
    """Check batches and checkpoint before training starts.

    Args:
        cfg: the run's configuration.
        data: see `build.build_data`.
        model: the module to be trained.
        checkpoint: the file from which training is resumed, or None.

    Returns:
        The checkpoint's metadata, see `artifact.read_checkpoint`; without a checkpoint only `batches`, which is -1.

    Raises:
        UserError: generator and data do not match, a batch cannot fit into memory, or the checkpoint is damaged or of
            other networks.
    """
    check_sizes(data, model.generator)
    if is_rank_zero():
        check_batches_fit(data, model, on_cpu=processes.on_cpu(cfg) or not torch.cuda.is_available())
    if checkpoint is None:
        return {"batches": -1}
    metadata = read_checkpoint(checkpoint)[1]
    verify_checkpoint(Path(checkpoint))
    check_architecture(model.generator, metadata.get("arguments", {}), f"ckpt_path={checkpoint}")
    return metadata


def check_options(cfg: DictConfig, manual: bool) -> None:
    """Raise UserError for options that do not work together or with manual optimisation.

    Args:
        cfg: the run's configuration.
        manual: whether the module uses manual optimisation.
    """
    if manual and cfg.trainer.gradient_clip_val is not None:
        raise UserError(
            "trainer.gradient_clip_val does not work with two optimisers: set model.generator_clip and "
            "model.discriminator_clip instead."
        )
    if manual and cfg.trainer.accumulate_grad_batches != 1:
        raise UserError(
            "trainer.accumulate_grad_batches does not work with two optimisers: set model.accumulate_grad_batches."
        )
    if cfg.trainer.sync_batchnorm and (cfg.model.compile or processes.on_cpu(cfg)):
        raise UserError(
            "trainer.sync_batchnorm=true needs GPUs and networks that are not compiled: remove it, or train on GPUs "
            "with model.compile=false."
        )
    optimizers = [f"{name}_optimizer" for name in ("generator", "discriminator") if f"{name}_optimizer" in cfg.model]
    clipped = cfg.trainer.gradient_clip_val or cfg.model.get("generator_clip") or cfg.model.get("discriminator_clip")
    if cfg.trainer.precision == "16-mixed" and clipped and any(cfg.model[name].get("fused") for name in optimizers):
        raise UserError(
            "Gradient clipping with trainer.precision=16-mixed does not work with fused optimisers, which unscale "
            f"gradients after clipping: set {' '.join(f'model.{name}.fused=false' for name in optimizers)}, or "
            "trainer.precision=bf16-mixed."
        )
    option = "model.accumulate_grad_batches" if manual else "trainer.accumulate_grad_batches"
    if cfg.model.get("compile") in CUDA_GRAPH_MODES and OmegaConf.select(cfg, option) != 1:
        raise UserError(
            f"model.compile={cfg.model.compile} replays CUDA graphs, which overwrite accumulated gradients: set "
            f"model.compile=true, or {option}=1 with a larger data.batch_size."
        )
    if cfg.trainer.precision not in PRECISIONS:
        raise UserError(f"trainer.precision={cfg.trainer.precision}: use one of {AUTO}, {', '.join(PRECISIONS)}.")


def check_sizes(data: SuperResolutionData, generator: SRModule) -> None:
    """Raise UserError unless the generator has the scale of the data, and accepts LR patches of the crop's size."""
    if generator.scale != data.scale:
        raise UserError(
            f"model.generator upscales by {generator.scale}, but the data are made for {data.scale}: set "
            f"scale={generator.scale}, or use another generator."
        )
    traits = traits_of(generator)
    side = None if data.crop is None else data.crop // data.scale
    if side is not None and (side < traits.min_side or side % traits.side_multiple):
        least = -(-max(traits.min_side, side) // traits.side_multiple) * traits.side_multiple
        raise UserError(
            f"data.crop={data.crop} gives LR of {side}x{side}, but {type(generator).__name__} needs sides of at least "
            f"{traits.min_side} that are multiples of {traits.side_multiple}: set data.crop={least * data.scale}."
        )


def check_batches_fit(data: SuperResolutionData, model: SuperResolutionModule, on_cpu: bool) -> None:
    """Raise UserError if a batch needs more memory than there is.

    The estimate is a lower bound: batches that are refused could not work, but batches that pass may still be too
    large. For training it counts the two tensors of `hr_features` feature maps of HR's size that a step holds at once,
    in half precision; a generator without `hr_features` counts as 3, the channels of SR. For validation, which runs in
    tiles, it counts HR, SR and bicubic of the largest images in float32.

    Args:
        data: the data module after `setup`.
        model: the module to be trained.
        on_cpu: whether training runs on the CPU.
    """
    there = memory_of(torch.device("cpu" if on_cpu else "cuda"))
    traits = traits_of(model.generator)
    for split, option in (("train", "batch_size"), ("val", "val_batch_size")):
        source, size = data.sources[split], getattr(data, option)
        if split == "train" and data.crop is not None:
            height = width = data.crop
        else:
            # Sizes come from the files' headers. Images of a source without `sizes` usually have one size: read one.
            try:
                sizes = getattr(source, "sizes", None) or [source.read(0).shape[-2:]]
            except UserError:
                continue  # the loader reports broken files
            height, width = max(sizes, key=prod)
        images = min(size, len(source))
        pixel = traits.hr_features * 2 * 2 if split == "train" else 3 * 3 * 4  # bytes
        needed = images * height * width * pixel
        if needed > there:
            lower, crop = [f"data.{option}"], ", or crop the largest validation images"
            if split == "train":
                if data.crop:
                    lower.append("data.crop")
                if "channels" in model.generator.arguments:
                    lower.append("model.generator.channels")
                crop = "" if data.crop else ", or set data.crop"
            raise UserError(
                f"data.{option}={size}: {images} images of {width}x{height} need more than {gigabytes(needed)} of "
                f"memory, and there is {gigabytes(there)}. Lower {' or '.join(lower)}{crop}."
            )
