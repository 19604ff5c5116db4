"""Resizing in strips equals torch's antialiased bicubic interpolation of the whole picture."""

import numpy as np
import pytest
import torch

from srgan_lightning.imaging import resizing
from srgan_lightning.imaging.ops import resize_bicubic
from srgan_lightning.imaging.resizing import resize_pixels


@pytest.mark.parametrize("size", [(37, 90), (130, 41), (211, 333), (1, 1)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_strips_make_the_whole(monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], dtype: type) -> None:
    monkeypatch.setattr(resizing, "STRIP", 16)
    most = np.iinfo(dtype).max
    pixels = np.random.default_rng(0).integers(0, most + 1, (97, 120, 3), dtype=dtype)
    result = resize_pixels(pixels, size)
    whole = torch.from_numpy(pixels.astype(np.float64)).permute(2, 0, 1)[None]
    expected = resize_bicubic(whole, size)[0].permute(1, 2, 0).clamp(0, most).numpy()
    assert (result.dtype, result.shape) == (dtype, (*size, 3))
    np.testing.assert_allclose(result, expected, atol=0.5 + most * 1e-6)  # rounding, and float32
