"""Measure the input pipeline, from files to LR and HR. The baseline is two loaders of torchvision's `ImageFolder`."""

import statistics
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder
from torchvision.transforms import Compose, GaussianBlur, Resize, ToTensor

from srgan_lightning.tools.benchmark.timing import Result, clock, measure, result
from srgan_lightning.training.build import build_data

CPU = torch.device("cpu")


def image_folder_loaders(root: Path, batch_size: int) -> tuple[DataLoader[Any], DataLoader[Any]]:
    """Return two loaders of the same folder: HR of 256x256, and blurred LR of 64x64."""
    hr = Compose([Resize((256, 256)), ToTensor()])
    lr = Compose([Resize((64, 64)), GaussianBlur(25), ToTensor()])
    first, second = (DataLoader(ImageFolder(str(root), transform), batch_size) for transform in (hr, lr))
    return first, second


def loader_speed(cfg: DictConfig, workers: int, batches: int) -> float:
    """Measure the images per second that the training process receives from running loader processes."""
    data = build_data(cfg)
    data.num_workers = workers
    loader = iter(data.train_dataloader())
    ahead = 2 * workers  # number of batches that the workers have prefetched, which are not timed
    for _ in range(ahead):
        next(loader)
    start = clock(CPU)
    count = sum(len(batch["hr"]) for batch in islice(loader, batches))
    return count / (clock(CPU) - start)


def input_pipeline(cfg: DictConfig, root: Path, images: int, rounds: int) -> Result:
    """Measure the work for a batch on one CPU thread: read, crop and collate in the loader, then augment and degrade.

    Args:
        cfg: the configuration of the experiment, from `configure`.
        root: the folder that `draw_celeba` wrote; the baseline reads it.
        images: number of images per timed run.
        rounds: timed runs of each pipeline.

    Returns:
        Images per second and worker. `loading_alone` leaves out augmentation and degradation, because training runs
        them on the GPU if there is one.
    """
    data = build_data(cfg)
    data.num_workers = 0
    batches = max(images // data.batch_size, 1)
    loader = data.train_dataloader()

    def ours() -> None:
        for batch in islice(loader, batches):
            data.on_after_batch_transfer(batch, 0)

    def loading() -> None:
        for _ in islice(loader, batches):
            pass

    def baseline() -> None:
        for _ in islice(zip(*image_folder_loaders(root, data.batch_size), strict=True), batches):
            pass

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in a loader process
    try:
        seconds = measure({"ours": ours, "baseline": baseline, "loading": loading}, CPU, rounds)
    finally:
        torch.set_num_threads(threads)
    cache = cfg.data.get("cache")
    case = f"{cfg.name}, crop {cfg.data.crop}" + (f", cache {cache}" if cache else "")
    images = batches * data.batch_size
    alone = images / statistics.median(seconds["loading"])
    return result("input_pipeline", case, "32-true", "images/s per worker", images, seconds, loading_alone=alone)
