"""Silence Lightning's messages that appear in every run and help no user."""

import logging
import warnings

#: Parts of the warnings to silence.
NOISE = (
    "does not have many workers",
    "exists and is not empty",
    "treespec",
    "logging interval",
    "dirpath has changed",
    "sync_dist=True",  # scores are gathered, and losses averaged, before they are logged
    "barebones",  # the benchmark's own choice
    "`__len__` could be inaccurate",  # litdata computes it exactly
    "dataloader is not resumable",  # it can be resumed, by `data.datasets.SeededSampler`
)


def expect_modules_in_eval_mode(count: int) -> None:
    """Silence Lightning's warning about exactly `count` modules that are in eval mode on purpose."""
    warnings.filterwarnings("ignore", rf"Found {count} module\(s\) in eval mode at the start of training")


def silence_lightning() -> None:
    """Silence advertisements, deprecations inside Lightning, and warnings about intended behaviour."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for words in NOISE:
        warnings.filterwarnings("ignore", f".*{words}.*")
