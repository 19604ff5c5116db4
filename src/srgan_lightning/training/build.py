"""Data and networks of a configuration."""

from hydra.utils import instantiate
from omegaconf import DictConfig

from srgan_lightning.data.datamodule import SuperResolutionData
from srgan_lightning.networks.generator import check_scale
from srgan_lightning.runs.resume import is_rank_zero
from srgan_lightning.training.module import SuperResolutionModule


def build_data(cfg: DictConfig) -> SuperResolutionData:
    """The data of a configuration; on the first process prepared and set up, so that missing data are reported.

    Raises:
        UserError: the data are missing or cannot be trained on, or the generator has no such scale.
    """
    if cfg.model.generator.get("_target_") == "srgan_lightning.networks.Generator":
        check_scale(cfg.model.generator.scale)  # before sizes are judged by it
    data: SuperResolutionData = instantiate(cfg.data, degradation=instantiate(cfg.degradation))
    if is_rank_zero():
        data.prepare_data()
        data.setup("fit")
        if cfg.test:
            data.setup("test")
    return data


def build_model(cfg: DictConfig) -> SuperResolutionModule:
    """The networks of a configuration with their losses and optimisers, in the module that trains them."""
    return instantiate(cfg.model, loss=instantiate(cfg.loss))  # type: ignore[no-any-return]
