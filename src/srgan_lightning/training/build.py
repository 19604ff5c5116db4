"""Build data and networks from a configuration."""

from hydra.utils import instantiate
from omegaconf import DictConfig

from srgan_lightning.data.datamodule import SuperResolutionData
from srgan_lightning.networks.generator import check_scale
from srgan_lightning.runs.resume import is_rank_zero
from srgan_lightning.training.module import SuperResolutionModule


def build_data(cfg: DictConfig) -> SuperResolutionData:
    """Build the data module; on rank zero also prepare it and set it up, so that missing data are reported early.

    Raises:
        UserError: the data are missing or unsuitable for training, or the generator does not support the scale.
    """
    if cfg.model.generator.get("_target_") == "srgan_lightning.networks.Generator":
        check_scale(cfg.model.generator.scale)  # first, because image sizes are checked with the scale
    data: SuperResolutionData = instantiate(cfg.data, degradation=instantiate(cfg.degradation))
    if is_rank_zero():
        data.prepare_data()
        data.setup("fit")
        if cfg.test:
            data.setup("test")
    return data


def build_model(cfg: DictConfig) -> SuperResolutionModule:
    """Build the LightningModule with the networks, losses and optimisers."""
    return instantiate(cfg.model, loss=instantiate(cfg.loss))  # type: ignore[no-any-return]
