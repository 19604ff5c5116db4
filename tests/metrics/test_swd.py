"""`swd`: planted faults raise it, and each image counts once over all processes."""

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from srgan_lightning.metrics.swd import SlicedWassersteinDistance
from srgan_lightning.training.callbacks import PictureMetrics


def distance(change: Callable[[torch.Tensor], torch.Tensor]) -> float:
    hr = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    hr = torch.nn.functional.avg_pool2d(hr, 3, 1, 1)  # neighbouring pixels are similar, as in photos
    hr = (hr * 255).round() / 255
    metric = SlicedWassersteinDistance(4)
    metric.update(change(hr)[:2], hr[:2])
    metric.update(change(hr)[2:], hr[2:])
    return float(metric.compute())


def test_scale_1_has_one_octave() -> None:
    metric, hr = SlicedWassersteinDistance(1), torch.randint(0, 256, (1, 3, 16, 16)) / 255
    metric.update(hr, hr)
    assert float(metric.compute()) == 0
    metric.update(hr / 2, hr)
    assert float(metric.compute()) > 0.1


def test_swd_grows_with_every_visible_fault() -> None:
    def blur(side: int) -> Callable[[torch.Tensor], torch.Tensor]:
        return lambda x: torch.nn.functional.avg_pool2d(x, side, 1, side // 2, count_include_pad=False)

    noise = torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    checkerboard = (torch.arange(64)[:, None] + torch.arange(64)) % 2 * 0.2 - 0.1
    assert distance(lambda x: x) == 0
    assert distance(lambda x: x.flip(-1)) < 0.1  # the same statistics in other places
    assert 0.1 < distance(blur(3)) < distance(blur(7)) < 0.9
    assert 0.01 < distance(lambda x: x + 0.05 * noise) < distance(lambda x: x + 0.2 * noise)
    assert distance(lambda x: x + checkerboard) > 0.1
    assert math.isfinite(distance(lambda x: torch.zeros_like(x)))


@pytest.mark.parametrize(
    "shares",
    [
        [[0, 2, 2, 3, 5, 5]],  # one process; 2 and 5 replace the unreadable 1 and 4
        [[0, 2, 5], [2, 3, 5]],
        [[0, 3], [2, 5], [2, 5]],
        [[2, 0, 2], [5, 2, 3]],  # in any order
    ],
)
def test_swd_counts_an_image_once(shares: list[list[int]]) -> None:
    hr, sr = torch.rand(6, 3, 32, 32), torch.rand(6, 3, 32, 32) * 0.9
    lr, whole, metrics = torch.rand(6, 3, 8, 8), SlicedWassersteinDistance(4), []
    whole.update(sr[[0, 2, 3, 5]], hr[[0, 2, 3, 5]])
    for rank, indices in enumerate(shares):
        trainer: Any = SimpleNamespace(world_size=len(shares), global_rank=rank)
        module: Any = SimpleNamespace(generator=SimpleNamespace(scale=4), device="cpu")
        callback = PictureMetrics()
        callback.setup(trainer, module, "fit")
        for _ in range(2):  # a validation does not include the one before
            callback.on_validation_start(trainer, module)
            for number, index in enumerate(indices):
                batch = {"lr": lr[[index]], "hr": hr[[index]], "index": torch.tensor([index])}
                callback.on_validation_batch_end(trainer, module, sr[[index]], batch, number)
        metrics.append(callback.metrics["swd"])
    whole_counts = sum(metric.sr for metric in metrics), sum(metric.hr for metric in metrics)
    assert torch.equal(whole_counts[0], whole.sr)
    assert torch.equal(whole_counts[1], whole.hr)


def test_swd_adds_up_over_processes() -> None:
    hr, sr = torch.rand(4, 3, 32, 32), torch.rand(4, 3, 32, 32) * 0.9
    whole, parts = SlicedWassersteinDistance(2), [SlicedWassersteinDistance(2), SlicedWassersteinDistance(2)]
    whole.update(sr, hr)
    for index, part in enumerate(parts):
        part.update(sr[index::2], hr[index::2])
    joined = parts[0]
    joined.sr, joined.hr = parts[0].sr + parts[1].sr, parts[0].hr + parts[1].hr
    assert float(joined.compute()) == float(whole.compute())
