"""Inference on a GPU: half precision, tiles, real lack of memory, JPEG degradation, and an exported graph."""

from pathlib import Path

import numpy as np
import pytest
import torch

from srgan_lightning.artifacts.artifact import save_artifact
from srgan_lightning.artifacts.export import export
from srgan_lightning.artifacts.load import load_trained
from srgan_lightning.data.degradation import Bicubic
from srgan_lightning.data.jpeg import by_arithmetic
from srgan_lightning.imaging.picture import Picture
from srgan_lightning.inference.upscaling import TiledUpscaler
from srgan_lightning.networks import Generator
from tests.helpers.generators import ABOUT, tiny_generator

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def upscaled(generator: Generator, pixels: np.ndarray, device: str, **options: object) -> np.ndarray:
    upscaler = TiledUpscaler(generator, **options)  # type: ignore[arg-type]
    upscaler.generator.to(device)
    return upscaler.upscale(Picture(pixels)).colour.astype(int)


@pytest.mark.parametrize("tile", [0, 32])
@pytest.mark.parametrize("precision", ["32", "bf16", "16"])
def test_a_gpu_gives_the_image_of_the_cpu(tile: int, precision: str) -> None:
    generator, pixels = tiny_generator(global_skip="bicubic"), noise(50, 70)
    with torch.no_grad():
        generator.tail.weight *= 0.1
    there = upscaled(generator, pixels, "cuda", tile=tile, precision=precision)
    apart = np.abs(there - upscaled(generator, pixels, "cpu"))
    assert apart.max() <= (1 if precision == "32" else 2)


def test_real_shortage_of_memory_halves_the_tile(capsys: pytest.CaptureFixture[str]) -> None:
    """Use 0.5 GB, where 1024 x 1024 pixels take 0.8 GB at once, and 512 x 512 with their overlap 0.2 GB."""
    generator, pixels = Generator(64, 1).eval(), noise(1024, 1024)
    torch.cuda.empty_cache()
    whole = torch.cuda.get_device_properties(0).total_memory
    used = torch.cuda.memory_reserved(0)
    torch.cuda.set_per_process_memory_fraction((used + 5e8) / whole, 0)
    try:
        upscaler = TiledUpscaler(generator, tile=1024)
        upscaler.generator.to("cuda")
        result = upscaler.upscale(Picture(pixels)).colour
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, 0)
        torch.cuda.empty_cache()
    assert upscaler.tile < 1024
    assert "Out of memory with tiles of 1024 pixels: continuing with 512." in capsys.readouterr().err
    assert result.shape == (4096, 4096, 3)
    corner = upscaled(generator, pixels[:128, :128], "cuda")[:256, :256]  # outside the receptive field
    assert np.abs(result[:256, :256].astype(int) - corner).max() <= 1


def test_jpeg_on_a_gpu_is_that_of_the_cpu() -> None:
    """The CPU runs libjpeg; the same arithmetic on the CPU is equal up to rounding."""
    degradation = Bicubic(4, jpeg=(40, 90))
    coarse = torch.rand(4, 3, 8, 8)
    hr, draw = torch.nn.functional.interpolate(coarse, size=(64, 64), mode="bicubic").clamp(0, 1), torch.rand(4)
    there = degradation(hr.cuda(), draw.cuda())
    assert there.is_cuda
    quality = degradation.quality_of(draw)
    assert (there.cpu() - by_arithmetic(Bicubic(4)(hr, draw), quality)).abs().mean() * 255 < 0.1
    assert (there.cpu() - degradation(hr, draw)).abs().mean() * 255 < 1.5
    assert (there - Bicubic(4)(hr.cuda(), draw.cuda())).abs().mean() * 255 > 0.1  # JPEG was applied


def test_onnx_gives_the_image_of_the_gpu(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    generator = tiny_generator(global_skip="bicubic")
    save_artifact(tmp_path / "g.safetensors", generator, ABOUT)
    export(load_trained(tmp_path / "g.safetensors"), "onnx", tmp_path / "g.onnx")
    there = onnxruntime.get_available_providers()
    providers = [name for name in ("CUDAExecutionProvider", "CPUExecutionProvider") if name in there]
    session = onnxruntime.InferenceSession(tmp_path / "g.onnx", providers=providers)
    lr = torch.rand(1, 3, 24, 33)
    with torch.inference_mode():
        sr = generator.cuda()(lr.cuda()).cpu()
    (exported,) = session.run(None, {"lr": lr.numpy()})
    assert np.abs(exported - sr.numpy()).max() < 5e-3  # TF32 on the GPU
