"""Whether this process is one of several that a launcher started; kept apart from torch, which takes seconds."""

import os
import sys

#: `python -m srgan_lightning.train --handed ...`: a process that `training.processes.launch` started.
FLAG = "--handed"


def is_launched() -> bool:
    """Whether torchrun, srun or `launch` may have started this process, so that it must look for the others."""
    return sys.argv[1:2] == [FLAG] or bool({"TORCHELASTIC_RUN_ID", "SLURM_NTASKS"} & os.environ.keys())
