"""Base module of both stages: the generator, validation by the metric protocol, and metadata of checkpoints."""

import copy
import math
from collections.abc import Callable, Iterator
from typing import Any

import lightning
import torch
import torch._functorch.config
from lightning import Callback
from torch import Tensor, nn
from torch.optim import Optimizer

from srgan_lightning.artifacts.artifact import architecture_of
from srgan_lightning.artifacts.init_from import load_generator_weights
from srgan_lightning.inference.tiling import super_resolve
from srgan_lightning.losses import GeneratorLoss
from srgan_lightning.metrics.psnr_ssim import PSNRSSIM
from srgan_lightning.networks import Generator
from srgan_lightning.networks.contract import SRModule, validate_generator
from srgan_lightning.runs.checkpoint_checks import check_states, first_misfit, follow_implementation
from srgan_lightning.training import lightning_internals
from srgan_lightning.training.callbacks.cache_hint import CacheHint
from srgan_lightning.training.callbacks.exact_resume import ExactResume
from srgan_lightning.training.process_mean import process_mean
from srgan_lightning.training.schedules import SchedulerFactory, reapply_scheduler_options
from srgan_lightning.utils.errors import UserError
from srgan_lightning.utils.logging import expect_modules_in_eval_mode

OptimizerFactory = Callable[[Iterator[nn.Parameter]], Optimizer]
Batch = dict[str, Tensor]

COMPILE_MODES = ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")


class SuperResolutionModule(lightning.LightningModule):
    """A LightningModule that trains a generator.

    Args:
        generator: any nn.Module that follows the contract of `networks.contract.SuperResolver`.
        loss: the generator's loss.
        optimizer: makes the generator's optimiser from its parameters.
        scheduler: makes the learning rate schedule, stepped once per generator update; None for a constant rate.
        init_from: source of the generator's initial weights: an artifact (.safetensors), a checkpoint (.ckpt) or the
            name of a bundled model, such as `srresnet-x4`; for a `SpandrelGenerator` also a published file.
        channels_last: use the channels-last memory format for weights, as for images; convolutions are fastest in it.
        compile: whether torch.compile compiles the networks of the training step, including VGG; or the name of a mode
            of torch.compile. The mode `reduce-overhead`, for example, replays CUDA graphs.

    Raises:
        UserError: the generator breaks the contract, the mode of torch.compile is unknown, or `init_from` is missing,
            unreadable or of another architecture.
    """

    def __init__(
        self,
        generator: SRModule,
        loss: GeneratorLoss,
        optimizer: OptimizerFactory,
        scheduler: SchedulerFactory | None,
        init_from: str | None,
        channels_last: bool,
        compile: bool | str,
    ) -> None:
        super().__init__()
        # The check runs the network. This is left out for the paper's generator, which is known to follow the contract,
        # because no network should run before the loaders' workers are forked.
        self.generator = generator if type(generator) is Generator else validate_generator(generator)
        self.loss = loss
        self.optimizer_factory, self.scheduler_factory = optimizer, scheduler
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        if isinstance(compile, str) and compile not in COMPILE_MODES:
            modes = ", ".join(COMPILE_MODES)
            raise UserError(
                f"model.compile={compile!r} is unknown: use false, true or a mode of torch.compile: {modes}."
            )
        self.compile_mode = compile
        self.scores = PSNRSSIM(generator.scale)
        self.schedules: list[dict[str, Any]] = []  # their states as configured, before a resume
        self.saved_schedules: list[dict[str, Any]] = []  # the checkpoint's own list
        self.values: dict[str, Tensor | float] = {}  # scalars of the last training step, by name
        self.latest: dict[str, Tensor | float] = {}  # the last value of each name to log, also from earlier steps
        self.scored_at = -1  # number of generator updates at the last validation; -1 before the first one
        self.pretrained = init_from is not None
        if init_from is not None:
            load_generator_weights(generator, init_from)

    def configure_callbacks(self) -> list[Callback]:
        return [ExactResume(), CacheHint()]  # always used, independent of the configuration

    def setup(self, stage: str) -> None:
        self.to(memory_format=self.memory_format)

    def on_fit_start(self) -> None:
        # The states as configured, before Lightning restores those of a checkpoint.
        self.schedules = [copy.deepcopy(config.scheduler.state_dict()) for config in self.trainer.lr_scheduler_configs]
        if len(self.saved_schedules) != len(self.schedules):
            # Lightning restores states in order, so one of the discriminator could go to the generator's schedule.
            self.saved_schedules.clear()
        in_eval_mode = [module for module in self.modules() if not module.training]
        if self.loss.perceptual is not None and in_eval_mode == list(self.loss.perceptual.features.modules()):
            expect_modules_in_eval_mode(len(in_eval_mode))  # expected for VGG; Lightning warns of any other module
        if self.compile_mode:
            mode = None if self.compile_mode is True else self.compile_mode
            # Keep a graph's buffers after a backward pass, because `Health` uses the same graph for each loss term.
            torch._functorch.config.donated_buffer = False
            for network in self.trained_networks():
                # In place, so that the module and its state-dict keys stay the same. Patches have a fixed size.
                network.compile(mode=mode, dynamic=False)

    def on_train_start(self) -> None:
        for config, configured in zip(self.trainer.lr_scheduler_configs, self.schedules, strict=True):
            reapply_scheduler_options(config.scheduler, configured, self.global_step)  # type: ignore[arg-type]

    def trained_networks(self) -> Iterator[nn.Module]:
        """Yield the networks that a training step runs."""
        yield self.generator
        if self.loss.perceptual is not None:
            yield self.loss.perceptual.features

    @property
    def accumulating(self) -> bool:
        """Whether an update has begun and needs further batches."""
        return lightning_internals.accumulates(self.trainer)

    @property
    def updates_per_epoch(self) -> float:
        """The number of generator updates in an epoch; Lightning also updates after the last batch of an epoch."""
        batches = self.trainer.num_training_batches
        if math.isinf(batches):  # a loader without a length
            return batches
        return math.ceil(batches / self.trainer.accumulate_grad_batches)

    def on_validation_model_zero_grad(self) -> None:
        if not self.accumulating:
            super().on_validation_model_zero_grad()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._check_fits(checkpoint)
        check_states(self.trainer, checkpoint)
        self.saved_schedules = checkpoint["lr_schedulers"]
        self.latest = {name: value.to(self.device) for name, value in checkpoint.get("latest", {}).items()}

    def _check_fits(self, checkpoint: dict[str, Any]) -> None:
        """Raise UserError for a checkpoint of the other stage or of other networks."""
        mine = type(self).__name__
        stage = checkpoint["generator"].get("recipe", {}).get("stage", mine)
        if stage != mine:
            raise UserError(
                f"ckpt_path is a checkpoint of {stage}, and this run trains {mine}: use model.init_from to load only "
                "the generator's weights, or resume with the experiment that wrote the checkpoint."
            )
        if found := first_misfit(self.state_dict(), checkpoint["state_dict"]):
            raise UserError(
                f"ckpt_path holds other networks than this run: {found}. Resume with the model options of the "
                "run that wrote it (see its .hydra/overrides.yaml), or start a new run from its generator with "
                "model.init_from."
            )

    def make_optimizer(self, factory: OptimizerFactory, network: nn.Module) -> Optimizer:
        """Make a network's optimiser, with a hook for states that are loaded; see `follow_implementation`."""
        optimizer = factory(network.parameters())
        optimizer.register_load_state_dict_pre_hook(follow_implementation)
        return optimizer

    def forward(self, lr: Tensor) -> Tensor:
        if self.compile_mode:  # from here on, CUDA graphs may overwrite the outputs of the previous step
            torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        sr: Tensor = self.generator(lr)
        return sr

    def keep_values(self, values: dict[str, Tensor | float]) -> None:
        """Store the scalars of a training step as `values`, on their device, for logs and callbacks."""
        self.values = {name: value.detach() if isinstance(value, Tensor) else value for name, value in values.items()}
        self.latest |= self.values

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        # Lightning calls this after the callbacks. Any of them may stop the training, and the last step must be logged.
        # Only logging waits for the device, and it waits once.
        waiting = self.automatic_optimization and self.accumulating
        if not waiting and lightning_internals.logs_this_step(self.trainer):
            self._log_values()

    def _log_values(self) -> None:
        """Log `latest`, averaged over all processes, with the number of generator updates as the step."""
        tensors = {name: value for name, value in self.latest.items() if isinstance(value, Tensor)}
        mine = torch.stack([value.float() for value in tensors.values()])
        if self.trainer.world_size > 1:
            mine = self.trainer.strategy.reduce(mine, reduce_op="mean")  # type: ignore[assignment]
        # Move all values to the CPU at once, because Lightning reads each value separately.
        numbers = {**self.latest, **dict(zip(tensors, mine.cpu(), strict=True))}
        for name, value in numbers.items():
            self.log(name, torch.as_tensor(value, dtype=torch.float32))
        self._log_step(self.global_step)

    def _log_step(self, updates: int) -> None:
        # Lightning's own step is one too low at a validation. In stage two it counts all batches, of which an update
        # may take several.
        self.log("step", torch.tensor(float(updates)))
        self.log("batch", torch.tensor(float(self.trainer.fit_loop.total_batch_idx + 1)))

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        # float32 in any training precision: bf16 has 8 bits of mantissa, too few for an image.
        with torch.autocast(self.device.type, enabled=False):
            sr = super_resolve(self.generator, batch["lr"])
            self.scores.update(sr, batch["hr"], batch["lr"], batch["index"])
        return sr

    def on_validation_start(self) -> None:
        # `GeneratorEMA` has already swapped its weights in. Replace the buffers by their mean over the
        # processes, so that all processes score the generator that is saved.
        means = process_mean(self.trainer, dict(self.generator.named_buffers()))
        for name, mean in means.items():
            self.generator.get_buffer(name).copy_(mean)
        # Photos have many sizes. For each new size, cuDNN's benchmark would take longer than its slowest algorithm.
        self.benchmark, torch.backends.cudnn.benchmark = torch.backends.cudnn.benchmark, False

    def on_validation_end(self) -> None:
        torch.backends.cudnn.benchmark = self.benchmark

    def on_validation_epoch_end(self) -> None:
        self._log_scores("val")

    def test_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self.validation_step(batch, batch_idx)

    def on_test_epoch_end(self) -> None:
        self._log_scores("test")

    def _log_scores(self, split: str) -> None:
        scores = self.scores.compute()  # the same on every process: torchmetrics gathers the rows
        self.scores.reset()
        self.scored_at = self.global_step
        self.log_dict({f"{split}/{name}": value for name, value in scores.items()})
        self.log("psnr_y", scores["psnr_y"], prog_bar=True, logger=False)
        self._log_step(self.global_step)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # Only plain values, so that the file can be loaded with weights_only.
        checkpoint["generator"] = {
            "architecture": architecture_of(self.generator),
            "arguments": dict(self.generator.arguments),
            "batches": self.trainer.fit_loop.total_batch_idx + 1,
            "recipe": {"stage": type(self).__name__, "loss": self.loss.recipe, "updates": self.global_step},
        }
        state = checkpoint["state_dict"]
        state |= process_mean(self.trainer, {name: state[name] for name, _ in self.named_buffers() if name in state})
        latest = {name: torch.as_tensor(value, dtype=torch.float32) for name, value in self.latest.items()}
        checkpoint["latest"] = process_mean(self.trainer, latest)
        # A checkpoint between validations has no scores, because the last ones belong to older weights.
        metrics = self.trainer.callback_metrics if self.scored_at == self.global_step else {}
        checkpoint["scores"] = {key[4:]: float(value) for key, value in metrics.items() if key.startswith("val/")}
