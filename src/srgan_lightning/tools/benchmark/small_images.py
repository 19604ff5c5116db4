"""A folder of small images: files written in threads, on accelerators in batches, beside one after the other."""

from pathlib import Path

import torch
from PIL import Image

from srgan_lightning.data.synthetic.faces import SyntheticFaces
from srgan_lightning.imaging.files import read_picture, write_picture
from srgan_lightning.inference.inputs import Job
from srgan_lightning.inference.predict import upscale_files
from srgan_lightning.inference.upscaling import TiledUpscaler
from srgan_lightning.networks import Generator
from srgan_lightning.tools.benchmark.timing import Result, measure, result


def small_images(device: torch.device, root: Path, count: int, side: int, rounds: int) -> Result:
    """Drawn faces from PNG files to PNG files, as `upscale` does it, and in a plain loop.

    Args:
        device: where.
        root: a new folder for the files.
        count: how many faces.
        side: of LR, in pixels.
        rounds: timed calls of each.
    """
    root.mkdir()
    faces = SyntheticFaces(count, (side, side))
    jobs = [Job(root / f"{index}.png", root / f"{index}_x4.png") for index in range(count)]
    for index, job in enumerate(jobs):
        Image.fromarray(faces.read(index).permute(1, 2, 0).numpy()).save(job.source)
    upscaler = TiledUpscaler(Generator(global_skip="bicubic").eval())

    def as_the_command() -> None:
        if failures := upscale_files(jobs, upscaler, device, processes=1, progress=False):
            raise RuntimeError(f"no result to measure: {failures}")

    def one_by_one() -> None:
        upscaler.generator.to(device)
        for job in jobs:
            write_picture(job.target, upscaler.upscale(read_picture(job.source)))

    seconds = measure({"ours": as_the_command, "baseline": one_by_one}, device, rounds)
    return result("small_images", f"{count} of LR {side}x{side}", "32-true", "images/s", count, seconds)
