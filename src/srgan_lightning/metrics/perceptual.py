"""Perceptual metrics: LPIPS, DISTS, FID and KID of torchmetrics, VGG19 distance, identity, and weight-free metrics."""

import math
import os
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import MeanMetric, Metric

from srgan_lightning.imaging.face_embedder import FaceEmbedder
from srgan_lightning.losses import PerceptualLoss
from srgan_lightning.metrics.colour_shift import ColourShift
from srgan_lightning.metrics.grid_energy import GridEnergy
from srgan_lightning.metrics.pictures import Pictures
from srgan_lightning.metrics.swd import SlicedWassersteinDistance
from srgan_lightning.utils.errors import UserError

#: Names of the metrics that can be chosen.
PERCEPTUAL_NAMES = ("lpips", "dists", "fid", "kid", "vgg", "identity", "swd", "grid", "colour_shift")
#: Names of the scores in results: the metric `grid` also gives HR's own score, `hr_grid`.
KNOWN = ("lpips", "dists", "fid", "kid", "vgg", "identity", "swd", "grid", "hr_grid", "colour_shift")
OF_DISTRIBUTIONS = ("fid", "kid")  # these compare the feature distribution of all SR with that of all HR


class FeatureDistance(MeanMetric):
    """Squared distance of VGG19 features (Ledig et al. 2017, equation 5), averaged over images."""

    def __init__(self, loss: PerceptualLoss) -> None:
        super().__init__()
        self.loss = loss

    def update(self, sr: Tensor, hr: Tensor) -> None:  # type: ignore[override]
        """Add one image: sr and hr (1, 3, H, W) RGB in [0, 1]."""
        super().update(self.loss(sr, hr))


class DISTS(MeanMetric):
    """Deep Image Structure and Texture Similarity (Ding et al. 2020), averaged over images; 0 for equal images.

    This class replaces torchmetrics' DISTS metric, which would build VGG16 again for every image.
    """

    def __init__(self) -> None:
        from torchmetrics.functional.image.dists import DISTSNetwork

        super().__init__()
        self.network = DISTSNetwork().eval().requires_grad_(False)

    def update(self, sr: Tensor, hr: Tensor) -> None:  # type: ignore[override]
        """Add a batch: sr and hr (B, 3, H, W) RGB in [0, 1]."""
        with torch.no_grad():
            super().update(self.network(sr, hr))


class IdentitySimilarity(MeanMetric):
    """Cosine similarity between the face embeddings of SR and HR, averaged over images; 1 for equal embeddings."""

    def __init__(self, embedder: FaceEmbedder) -> None:
        super().__init__()
        self.embedder = embedder

    def update(self, sr: Tensor, hr: Tensor) -> None:  # type: ignore[override]
        """Add a batch: sr and hr (B, 3, H, W) RGB in [0, 1]."""
        super().update(F.cosine_similarity(self.embedder(sr), self.embedder(hr)).to(self.device))


def load_vgg_distance(vgg: Mapping[str, Any], setting: str) -> FeatureDistance:
    """Build a `FeatureDistance` from arguments of `PerceptualLoss`; `setting` names the user's options in errors."""
    try:
        return FeatureDistance(PerceptualLoss(**vgg))
    except UserError as error:
        raise UserError(f"{setting}, which are called loss.vgg in this error: {error}") from error


def load_metric(name: str, otherwise: str) -> Metric:
    """Load a metric of torchmetrics with its weights, from torch's hub folder or by download.

    Args:
        name: `lpips`, `dists`, `fid` or `kid`.
        otherwise: advice in the error message if the weights cannot be loaded.

    Raises:
        UserError: a package is missing, or the weights cannot be loaded.
    """
    try:
        if name == "lpips":
            from torchmetrics.image import LearnedPerceptualImagePatchSimilarity

            return LearnedPerceptualImagePatchSimilarity("alex", normalize=True)
        if name == "dists":
            return DISTS()
        from torchmetrics.image import FrechetInceptionDistance, KernelInceptionDistance

        weights = os.path.join(torch.hub.get_dir(), "checkpoints", "weights-inception-2015-12-05-6726825d.pth")
        path = weights if os.path.isfile(weights) else None
        if name == "fid":
            return FrechetInceptionDistance(normalize=True, feature_extractor_weights_path=path)
        return KernelInceptionDistance(normalize=True, feature_extractor_weights_path=path, subset_size=2)
    except ModuleNotFoundError as error:
        raise UserError(f"{name} needs more packages ({error}): pip install '.[metrics]'.") from error
    except Exception as error:  # urllib, ssl, hash and file errors of the weights
        raise UserError(
            f"The weights of {name} could not be loaded ({error}). They are downloaded once. Without network access, "
            f"copy torch's hub folder from a machine that has them and {otherwise}."
        ) from error


class PerceptualMetrics:
    """The chosen metrics of one image set. Lower is better, except for `identity` (higher) and `grid` (close to HR's).

    Args:
        names: some of `PERCEPTUAL_NAMES`.
        folder: a folder with the weights, laid out like torch's cache (`checkpoints/alexnet-owt-7be5be79.pth`, ...).
            None: torch's cache, into which missing weights are downloaded.
        device: where the networks run.
        vgg: arguments of `losses.PerceptualLoss`.
        otherwise: advice in the error message if weights cannot be loaded.
        scale: upscaling factor.
        identity: arguments of `FaceEmbedder`.
        vgg_options: where the user sets `vgg`, for the error message if it is wrong.

    Raises:
        UserError: a name is unknown, a package is missing, or weights are unavailable.
    """

    def __init__(
        self,
        names: list[str],
        folder: str | None,
        device: torch.device,
        vgg: Mapping[str, Any],
        otherwise: str = "set metric_weights=FOLDER, or leave the metric out",
        scale: int = 4,
        identity: Mapping[str, Any] | None = None,
        vgg_options: str = "metrics=[vgg] takes vgg.weights and vgg.layer",
    ) -> None:
        unknown = [name for name in names if name not in PERCEPTUAL_NAMES]
        if unknown:
            raise UserError(f"metrics={unknown} are unknown: use some of {', '.join(PERCEPTUAL_NAMES)}.")
        if "grid" in names:
            names = [*names, "hr_grid"]
        self.device, self.vgg, self.otherwise, self.scale = device, vgg, otherwise, scale
        self.vgg_options = vgg_options
        self.identity = dict(identity or {"model": None})
        if folder is not None:
            torch.hub.set_dir(os.path.abspath(folder))
        self.metrics: dict[str, Metric] = {name: self._make(name).to(device) for name in names}

    def _make(self, name: str) -> Metric:
        if name == "swd":
            return SlicedWassersteinDistance(self.scale)
        if name in ("grid", "hr_grid"):
            return GridEnergy(self.scale)
        if name == "colour_shift":
            return ColourShift()
        if name == "identity":
            return IdentitySimilarity(FaceEmbedder(**self.identity))
        if name == "vgg":
            return load_vgg_distance(self.vgg, self.vgg_options)
        return load_metric(name, self.otherwise)

    def update(self, pictures: Pictures) -> None:
        """Add one image."""
        sr, hr = pictures.sr.clamp(0, 1).to(self.device), pictures.hr.to(self.device)
        for name, metric in self.metrics.items():
            if name in OF_DISTRIBUTIONS:
                metric.update(hr, real=True)
                metric.update(sr, real=False)
            elif name in ("grid", "hr_grid"):
                metric.update(sr if name == "grid" else hr)
            else:
                metric.update(sr, pictures.lr.to(self.device) if name == "colour_shift" else hr)

    def compute(self, images: int) -> dict[str, float]:
        """Return the scores that are not NaN, and reset the metrics; raise UserError if the set is too small."""
        scores: dict[str, float] = {}
        for name, metric in self.metrics.items():
            if name in OF_DISTRIBUTIONS and images < 2:
                raise UserError(f"{name} compares distributions: it needs a set of 2 or more images, not {images}.")
            if name == "kid":
                metric.subset_size = min(50, images)  # type: ignore[assignment]
            with torch.random.fork_rng(devices=[]):
                # Above 50 images, KID draws subsets with the global RNG. A fixed seed gives the same subsets each time.
                torch.default_generator.manual_seed(0)
                value: Any = metric.compute()
            score = float(value[0] if name == "kid" else value)
            if not math.isnan(score):  # `grid` is NaN if all images are smaller than its window
                scores[name] = score
            metric.reset()
        return scores
