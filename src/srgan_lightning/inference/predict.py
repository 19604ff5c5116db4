"""Upscale many files with Lightning's `Trainer.predict`, in one or several processes; broken files are reported."""

import sys
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter, RichProgressBar
from torch import distributed
from torch.utils.data import DataLoader

from srgan_lightning.imaging.files import read_picture, write_picture
from srgan_lightning.imaging.picture import Picture
from srgan_lightning.inference.groups import group_pixels, grouped
from srgan_lightning.inference.inputs import Job
from srgan_lightning.inference.memory_check import check_room
from srgan_lightning.inference.record import add_to_record
from srgan_lightning.inference.upscaling import TiledUpscaler
from srgan_lightning.utils.cores import usable_cores
from srgan_lightning.utils.errors import UserError, printable
from srgan_lightning.utils.logging import silence_lightning

#: Maximum number of threads that write results. Results larger than SMALL_BYTES are written
#: before the next image is upscaled.
MAX_THREADS, SMALL_BYTES = 4, 2**25


class UpscalingModule(LightningModule):
    """A module that reads and upscales its process's jobs; on a GPU, small images of equal size form batches."""

    def __init__(self, jobs: Sequence[Job], upscaler: TiledUpscaler) -> None:
        super().__init__()
        self.jobs = jobs
        self.upscaler = upscaler
        self.generator = upscaler.generator  # a submodule, so that the Trainer moves it to its device

    def predict_dataloader(self) -> DataLoader[list[Job]]:
        """Load every n-th job for n processes; Lightning's sampler would repeat jobs to make the shares equal."""
        share = self.jobs[self.trainer.global_rank :: self.trainer.world_size]
        groups: Any = grouped(share, group_pixels(self.device))
        return DataLoader(groups, batch_size=1, collate_fn=_single)

    def transfer_batch_to_device(self, batch: list[Job], device: torch.device, dataloader_idx: int) -> list[Job]:
        return batch  # a batch only holds paths; tiles are moved to the device one by one

    def predict_step(self, batch: list[Job], batch_idx: int) -> list[Picture | UserError]:
        results: dict[int, Picture | UserError] = {}
        alike: dict[Any, dict[int, Picture]] = defaultdict(dict)  # by shape and depth, then by number of the job
        for number, job in enumerate(batch):
            try:
                upscaler, share = self.upscaler, self.trainer.world_size
                check_room(job.source, job.target, upscaler.scale, share, upscaler.finish)
                picture = read_picture(job.source)
                alike[picture.colour.shape, picture.colour.dtype][number] = picture
            except UserError as error:
                results[number] = error  # reported at the end, after the other files
        for pictures in alike.values():
            results |= zip(pictures, self._upscaled(list(pictures.values())), strict=True)
        return [results[number] for number in range(len(batch))]

    def _upscaled(self, pictures: list[Picture]) -> Sequence[Picture | UserError]:
        try:
            return self.upscaler.upscale_all(pictures)
        except UserError as error:
            if len(pictures) == 1:
                return [error]
        return [self._upscaled([picture])[0] for picture in pictures]  # one by one, to find the picture that fails


class ImageWriter(BasePredictionWriter):
    """A callback that writes results after each batch. Threads write small ones while the next images are upscaled.

    Args:
        fingerprint: fingerprint of the upscaler, recorded for each result.

    Attributes:
        failures: error messages by path of the broken file; after the run, those of all processes.
    """

    def __init__(self, fingerprint: str) -> None:
        super().__init__(write_interval="batch")
        self.fingerprint = fingerprint
        self.failures: dict[str, str] = {}
        self.threads = ThreadPoolExecutor(min(MAX_THREADS, usable_cores()))
        self.pending: list[tuple[Job, Future[None]]] = []

    def write_on_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        prediction: list[Picture | UserError],
        batch_indices: Sequence[int] | None,
        batch: list[Job],
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        self._finish()  # so that at most two batches of results are in memory
        for job, result in zip(batch, prediction, strict=True):
            if isinstance(result, UserError):
                self.failures[str(job.source)] = str(result)
            else:
                self.pending.append((job, self.threads.submit(self._write, job, result)))
        # `check_room` checked the memory for one large picture, not for two at a time.
        if any(isinstance(result, Picture) and result.colour.nbytes > SMALL_BYTES for result in prediction):
            self._finish()

    def _write(self, job: Job, result: Picture) -> None:
        write_picture(job.target, result)
        with suppress(OSError):  # without a record, --resume assumes the same weights and options
            add_to_record(job.target, self.fingerprint)
        if result.notes:
            print(printable(f"{job.source}: {'; '.join(result.notes)}."), file=sys.stderr, flush=True)

    def _finish(self) -> None:
        """Wait until all pending files are written."""
        for job, written in self.pending:
            try:
                written.result()
            except UserError as error:
                self.failures[str(job.source)] = str(error)
        self.pending = []

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._finish()
        self.threads.shutdown()
        if trainer.world_size > 1:
            shares: list[Any] = [None] * trainer.world_size
            distributed.all_gather_object(shares, self.failures)
            self.failures = {path: reason for share in shares for path, reason in share.items()}


def upscale_files(
    jobs: Sequence[Job], upscaler: TiledUpscaler, device: torch.device, processes: int, progress: bool = True
) -> dict[str, str]:
    """Upscale all jobs.

    Args:
        jobs: at least one job.
        upscaler: the upscaler, with its generator on the CPU.
        device: the device; with several GPU processes, each uses one GPU.
        processes: number of processes that share the jobs.
        progress: show a progress bar.

    Returns:
        Error messages by path of the broken file.

    Raises:
        UserError: there are too few GPUs or cores for the processes.
    """
    processes = min(processes, len(jobs))
    gpus = torch.cuda.device_count() if device.type == "cuda" else 1
    usable = gpus if device.index is None else 1
    if device.type != "cpu" and processes > usable:
        other = ", or --device cuda without a number" if processes <= gpus else ""
        raise UserError(
            f"--jobs {processes} with --device {device}: each process needs its own GPU, and --device {device} has "
            f"{usable}. Use --jobs {usable}{other}."
        )
    if device.type == "cpu" and processes > 2 * usable_cores():
        raise UserError(f"--jobs {processes} is too many for this machine's cores: use at most {2 * usable_cores()}.")
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
        enable_progress_bar=progress,
        callbacks=[writer, *([RichProgressBar()] if progress else [])],
    )
    trainer.predict(UpscalingModule(jobs, upscaler), return_predictions=False)
    return writer.failures


def _single(batch: list[list[Job]]) -> list[Job]:
    return batch[0]
