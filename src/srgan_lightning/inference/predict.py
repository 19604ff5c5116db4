"""Upscaling many files with Lightning's `Trainer.predict`: one process or several, broken files noted and passed by."""

import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter, RichProgressBar
from torch import distributed
from torch.utils.data import DataLoader

from srgan_lightning.imaging.files import read_picture, write_picture
from srgan_lightning.imaging.picture import Picture
from srgan_lightning.inference.inputs import Job
from srgan_lightning.inference.memory_check import check_room
from srgan_lightning.inference.record import add_to_record
from srgan_lightning.inference.upscaling import TiledUpscaler
from srgan_lightning.utils.cores import usable_cores
from srgan_lightning.utils.errors import UserError, printable
from srgan_lightning.utils.logging import silence_lightning


class UpscalingModule(LightningModule):
    """Reads and upscales this process's share of the jobs."""

    def __init__(self, jobs: Sequence[Job], upscaler: TiledUpscaler) -> None:
        super().__init__()
        self.jobs = jobs
        self.upscaler = upscaler
        self.generator = upscaler.generator  # a submodule, so that the Trainer moves it to its device

    def predict_dataloader(self) -> DataLoader[Job]:
        """Every n-th job; Lightning's own sampler would repeat some to make the shares equal."""
        share: Any = self.jobs[self.trainer.global_rank :: self.trainer.world_size]
        return DataLoader(share, batch_size=1, collate_fn=_single)

    def transfer_batch_to_device(self, batch: Job, device: torch.device, dataloader_idx: int) -> Job:
        return batch  # paths; the tiles travel one by one

    def predict_step(self, batch: Job, batch_idx: int) -> Picture | UserError:
        try:
            upscaler, share = self.upscaler, self.trainer.world_size
            check_room(batch.source, batch.target, upscaler.scale, share, upscaler.finish)
            return self.upscaler.upscale(read_picture(batch.source))
        except UserError as error:
            return error  # reported at the end; the other files go on


class ImageWriter(BasePredictionWriter):
    """Writes each result as soon as it is there.

    Args:
        fingerprint: of the upscaler, for the record of what made each result.

    Attributes:
        failures: what is wrong with each broken file, by its path; after the run, those of all processes.
    """

    def __init__(self, fingerprint: str) -> None:
        super().__init__(write_interval="batch")
        self.fingerprint = fingerprint
        self.failures: dict[str, str] = {}

    def write_on_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        prediction: Picture | UserError,
        batch_indices: Sequence[int] | None,
        batch: Job,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        try:
            if isinstance(prediction, UserError):
                raise prediction
            write_picture(batch.target, prediction)
            with suppress(OSError):  # a result that is not in the record counts as made by whatever resumes
                add_to_record(batch.target, self.fingerprint)
            if prediction.notes:
                print(printable(f"{batch.source}: {'; '.join(prediction.notes)}."), file=sys.stderr, flush=True)
        except UserError as error:
            self.failures[str(batch.source)] = str(error)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.world_size > 1:
            shares: list[Any] = [None] * trainer.world_size
            distributed.all_gather_object(shares, self.failures)
            self.failures = {path: reason for share in shares for path, reason in share.items()}


def upscale_files(jobs: Sequence[Job], upscaler: TiledUpscaler, device: torch.device, processes: int) -> dict[str, str]:
    """Upscale all jobs.

    Args:
        jobs: at least one.
        upscaler: its generator is on the CPU.
        device: with several processes, of its kind one for each.
        processes: how many share the jobs.

    Returns:
        What is wrong with each broken file, by its path.

    Raises:
        UserError: there are not as many devices as processes.
    """
    processes = min(processes, len(jobs))
    if device.type != "cpu" and processes > 1 and (device.index is not None or processes > torch.cuda.device_count()):
        raise UserError(
            f"--jobs {processes} with --device {device}: each process needs a GPU of its own, and here are "
            f"{torch.cuda.device_count()}. Lower --jobs, and name no single GPU."
        )
    if device.type == "cpu" and processes > 2 * usable_cores():
        raise UserError(f"--jobs {processes}: this machine's cores are enough for {2 * usable_cores()}.")
    silence_lightning()
    writer = ImageWriter(upscaler.fingerprint())
    trainer = Trainer(
        accelerator="gpu" if device.type == "cuda" else device.type,
        devices=processes if device.index is None else [device.index],
        strategy="ddp" if processes > 1 else "auto",
        use_distributed_sampler=False,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        callbacks=[writer, RichProgressBar()],
    )
    trainer.predict(UpscalingModule(jobs, upscaler), return_predictions=False)
    return writer.failures


def _single(batch: list[Job]) -> Job:
    return batch[0]
