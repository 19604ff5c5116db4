"""Batches as a LightningModule receives them."""

import torch

from srgan_lightning.data.datamodule import SuperResolutionData


def batch_of(data: SuperResolutionData, stage: str = "train") -> dict[str, torch.Tensor]:
    """Return the first batch as a LightningModule receives it."""
    data.setup("fit")
    loader = data.train_dataloader() if stage == "train" else data.val_dataloader()
    raw = next(iter(loader))
    assert raw["hr"].dtype == torch.uint8  # the loader gives bytes
    return data.on_after_batch_transfer(data.on_before_batch_transfer(raw, 0), 0)


def assert_contract(batch: dict[str, torch.Tensor], hr: tuple[int, ...], lr: tuple[int, ...]) -> None:
    for name, shape in (("hr", hr), ("lr", lr)):
        assert batch[name].shape == shape
        assert batch[name].dtype == torch.float32
        assert batch[name].min() >= 0
        assert batch[name].max() <= 1
        torch.testing.assert_close(batch[name] * 255, (batch[name] * 255).round(), atol=1e-3, rtol=0)
