"""Find out whether a launcher started this process as one of several.

This module does not import torch, because that takes seconds.
"""

import os
import sys

#: First argument of a worker, which is a process that `training.launcher.launch` started:
#: `python -m srgan_lightning.train --worker PARENT`, with the process id of the parent.
WORKER = "--worker"
#: Exit code of a worker that lost its connection to another worker. The other worker failed first, but may exit later.
LOST_CONNECTION = 76
#: Environment variable that gives a worker the command line that the user typed.
COMMAND = "SRGAN_LIGHTNING_COMMAND"


def is_launched() -> bool:
    """Check whether torchrun, srun or `launch` may have started this process, so that it has to join others."""
    return sys.argv[1:2] == [WORKER] or bool({"TORCHELASTIC_RUN_ID", "SLURM_NTASKS"} & os.environ.keys())
