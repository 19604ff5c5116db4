"""From files to LR and HR, beside two passes of torchvision's `ImageFolder`."""

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
    """Read a folder twice: HR of 256x256, and LR of 64x64, blurred, from the files once more."""
    hr = Compose([Resize((256, 256)), ToTensor()])
    lr = Compose([Resize((64, 64)), GaussianBlur(25), ToTensor()])
    first, second = (DataLoader(ImageFolder(str(root), transform), batch_size) for transform in (hr, lr))
    return first, second


def loader_speed(cfg: DictConfig, workers: int, batches: int) -> float:
    """Images per second that the training process gets from a number of loader processes, once all of them run."""
    data = build_data(cfg)
    data.num_workers = workers
    loader = iter(data.train_dataloader())
    ahead = 2 * workers  # batches that were read before anyone asked for them
    for _ in range(ahead):
        next(loader)
    start = clock(CPU)
    count = sum(len(batch["hr"]) for batch in islice(loader, batches))
    return count / (clock(CPU) - start)


def input_pipeline(cfg: DictConfig, root: Path, images: int, rounds: int) -> Result:
    """One loader process's work on one CPU thread, and that of the training process: crop, collate, flip, make LR.

    Args:
        cfg: the experiment, whose data are those of `root` or an own set.
        root: folder of `draw_celeba`, which the baseline reads.
        images: number of images of each timed run.
        rounds: timed runs of each.

    Returns:
        Images per second and worker; `loading_alone` without what runs on the GPU where there is one.
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
    torch.set_num_threads(1)  # as in a worker
    try:
        seconds = measure({"ours": ours, "baseline": baseline, "loading": loading}, CPU, rounds)
    finally:
        torch.set_num_threads(threads)
    cache = cfg.data.get("cache")
    case = f"{cfg.name}, crop {cfg.data.crop}" + (f", cache {cache}" if cache else "")
    images = batches * data.batch_size
    alone = images / statistics.median(seconds["loading"])
    return result("input_pipeline", case, "32-true", "images/s per worker", images, seconds, loading_alone=alone)
