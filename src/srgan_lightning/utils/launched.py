"""Whether this process is one of several that a launcher started; kept apart from torch, which takes seconds."""

import os
import sys

#: `python -m srgan_lightning.train --worker PARENT`: a process that `training.launcher.launch` started.
WORKER = "--worker"
#: Exit code of such a process whose connection to another one broke: that one failed first, and may end later.
LOST_CONNECTION = 76
#: What the user typed, in the environment of such a process.
COMMAND = "SRGAN_LIGHTNING_COMMAND"


def is_launched() -> bool:
    """Whether torchrun, srun or `launch` may have started this process, so that it must look for the others."""
    return sys.argv[1:2] == [WORKER] or bool({"TORCHELASTIC_RUN_ID", "SLURM_NTASKS"} & os.environ.keys())
