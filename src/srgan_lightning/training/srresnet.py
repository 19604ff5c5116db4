"""Stage one: the generator alone, on a pixel loss (Ledig et al. 2017, section 3.2, SRResNet)."""

from typing import Any

from lightning.pytorch.plugins import Precision
from lightning.pytorch.utilities import GradClipAlgorithmType
from torch import Tensor
from torch.optim import Optimizer

from srgan_lightning.losses import GeneratorLoss
from srgan_lightning.networks.contract import SRModule
from srgan_lightning.training.module import Batch, OptimizerFactory, SuperResolutionModule
from srgan_lightning.training.schedules import SchedulerFactory, make_schedule
from srgan_lightning.utils.errors import UserError


class SRResNet(SuperResolutionModule):
    """Training of the generator alone, with automatic optimisation and the Trainer's clipping and accumulation.

    Args:
        generator: see `SuperResolutionModule`.
        loss: a loss without an adversarial term.
        generator_optimizer: makes the optimiser.
        generator_scheduler: makes the schedule, stepped once per update.
        init_from: see `SuperResolutionModule`.
        channels_last: see `SuperResolutionModule`.
        compile: see `SuperResolutionModule`.
    """

    def __init__(
        self,
        generator: SRModule,
        loss: GeneratorLoss,
        generator_optimizer: OptimizerFactory,
        generator_scheduler: SchedulerFactory | None = None,
        init_from: str | None = None,
        channels_last: bool = True,
        compile: bool | str = False,
    ) -> None:
        super().__init__(generator, loss, generator_optimizer, generator_scheduler, init_from, channels_last, compile)
        if loss.weights["adversarial"]:
            raise UserError(
                "model=srresnet has no discriminator: use loss=pixel or another loss without an adversarial term "
                "(loss.adversarial=0), or model=srgan."
            )

    def configure_optimizers(self) -> Any:
        optimizer = self.make_optimizer(self.optimizer_factory, self.generator)
        if self.scheduler_factory is None:
            return optimizer
        scheduler = make_schedule(self.scheduler_factory, optimizer, "model.generator_scheduler")
        return [optimizer], [{"scheduler": scheduler, "interval": "step"}]

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss: Tensor
        loss, terms = self.loss(self(batch["lr"]), batch["hr"])
        rate = self.trainer.optimizers[0].param_groups[0]["lr"]
        weighted = {f"loss/{name}": term for name, term in terms.items()}
        self.keep_values({"loss/generator": loss, **weighted, "lr/generator": rate})
        return loss

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        plugin = self.trainer.precision_plugin
        if getattr(plugin, "scaler", None) is not None:
            super().configure_gradient_clipping(optimizer, gradient_clip_val, gradient_clip_algorithm)
            return
        # In mixed precision, Lightning refuses to clip for fused optimisers, because they unscale gradients in their
        # step, which is after the clipping. But bf16-mixed has no loss scale, so full precision's clipping is correct.
        algorithm = GradClipAlgorithmType(gradient_clip_algorithm or "norm")
        Precision.clip_gradients(plugin, optimizer, gradient_clip_val or 0.0, algorithm)
