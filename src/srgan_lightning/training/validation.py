"""Run a validation at a point where Lightning has none."""

from lightning import Trainer

from srgan_lightning.training.lightning_internals import forget_validation


def validate_now(trainer: Trainer) -> None:
    """Validate within `fit`, before its first batch; callbacks and loggers treat it like any other validation."""
    loop = trainer.fit_loop.epoch_loop.val_loop
    trainer.validating, loop.restarting = True, False
    loop.run()
    trainer.training = True
    forget_validation(trainer)
