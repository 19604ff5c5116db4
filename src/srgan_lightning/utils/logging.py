"""Silence what Lightning logs on every run and no user needs."""

import logging
import warnings

NOISE = (
    "does not have many workers",
    "exists and is not empty",
    "treespec",
    "logging interval",
    "dirpath has changed",
    "sync_dist=True",  # scores are gathered, and losses averaged, before they are logged
    "barebones",  # the benchmark's own choice
    "`__len__` could be inaccurate",  # litdata sees to it
    "dataloader is not resumable",  # it is: `data.datasets.SeededSampler`
)


def expect_modules_in_eval_mode(count: int) -> None:
    """Silence Lightning's warning of exactly `count` modules in eval mode, which are so on purpose."""
    warnings.filterwarnings("ignore", rf"Found {count} module\(s\) in eval mode at the start of training")


def silence_lightning() -> None:
    """Silence advertisements, notes on deprecated internals, and warnings of what is done here on purpose."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for words in NOISE:
        warnings.filterwarnings("ignore", f".*{words}.*")
