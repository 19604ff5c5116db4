"""Measure `upscale` on a folder of small images, against a plain loop over the files.

`upscale` writes files in threads. On accelerators it also runs the network on batches of images.
"""

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
    """Measure the upscaling of drawn faces, from PNG files to PNG files, by `upscale` and by a plain loop.

    Args:
        device: the device.
        root: a new folder for the files.
        count: number of faces.
        side: side of LR in pixels.
        rounds: timed calls of `upscale` and of the loop.
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
