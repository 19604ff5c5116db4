"""`python -m srgan_lightning.train`: train a generator, alone (stage one) or against a discriminator (stage two)."""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from srgan_lightning.cli.hydra_command import entry_point, run_without_hydra
from srgan_lightning.runs.log import LOG, forget
from srgan_lightning.utils.launched import is_launched

if TYPE_CHECKING:
    from srgan_lightning.training.run import build_trainer, objective, train

__all__ = ["build_trainer", "main", "objective", "train"]


def __getattr__(name: str) -> Any:
    # Imported on first use, so that --help and misspelt options do not wait for torch.
    if name in __all__:
        from srgan_lightning.training import run

        return getattr(run, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@entry_point("train")
def from_command_line(cfg: DictConfig) -> float | list[float] | None:
    forget()
    LOG.info(what_is_trained(HydraConfig.get().runtime.choices, cfg))
    from srgan_lightning.training.run import objective, train

    return objective(cfg, train(cfg))


def what_is_trained(choices: Mapping[str, str], cfg: DictConfig) -> str:
    """Return the first log line of a run, with the choices of the most important groups."""
    chosen = " ".join(f"{group}={choices.get(group)}" for group in ("model", "loss", "data", "degradation"))
    return f"Training {cfg.name}: {chosen} trainer.max_steps={cfg.trainer.max_steps}. --help lists the other choices."


def main() -> None:
    """Train with the configuration of the command line, or with one received from another process.

    The other process is rank zero of torchrun or srun, or the process that started this worker.
    """
    if len(sys.argv) == 1:  # the quick start takes minutes on two cores, and downloads nothing
        if not is_launched():
            print("No options were given, so this is experiment=quickstart. Set experiment=, model=, loss= or data=.")
        sys.argv.append("experiment=quickstart")
    if not is_launched():
        from_command_line()
        return
    from srgan_lightning.training import processes
    from srgan_lightning.training.run import train

    handed = processes.receive_configuration()
    if handed is not None:
        run_without_hydra(train, handed)
        return
    try:
        from_command_line()
    finally:
        processes.broadcast_configuration(None)


if __name__ == "__main__":
    main()
