"""Callbacks of both stages."""

from srgan_lightning.training.callbacks.balance import Balance
from srgan_lightning.training.callbacks.early_stop import EarlyStop
from srgan_lightning.training.callbacks.final_validation import FinalValidation
from srgan_lightning.training.callbacks.generator_ema import GeneratorEMA
from srgan_lightning.training.callbacks.health import Health
from srgan_lightning.training.callbacks.initial_validation import InitialValidation
from srgan_lightning.training.callbacks.interruption import Interruption, Stopped
from srgan_lightning.training.callbacks.nonfinite import NonFinite
from srgan_lightning.training.callbacks.perceptual_scores import PerceptualScores
from srgan_lightning.training.callbacks.picture_metrics import PictureMetrics
from srgan_lightning.training.callbacks.progress import RunProgress
from srgan_lightning.training.callbacks.run_checkpoint import RunCheckpoint
from srgan_lightning.training.callbacks.sample_grid import SampleGrid
from srgan_lightning.training.callbacks.throughput import Throughput

PatchScore = PictureMetrics  #: The old name, which is the `_target_` in run directories of release 0.1.0.

__all__ = [
    "Balance",
    "EarlyStop",
    "FinalValidation",
    "GeneratorEMA",
    "Health",
    "InitialValidation",
    "Interruption",
    "NonFinite",
    "PatchScore",
    "PerceptualScores",
    "PictureMetrics",
    "RunCheckpoint",
    "RunProgress",
    "SampleGrid",
    "Stopped",
    "Throughput",
]
