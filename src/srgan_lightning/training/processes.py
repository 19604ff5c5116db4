"""The processes of a run: who starts them, and who tells them what to do.

With torchrun and srun they are there from the start. Otherwise `launch` starts them, by torchrun's own agent and apart
from this process, so that the next job of a sweep finds no process group, port or GPU memory that the last one left.
Either way the first process alone reads the command line, and the others are handed its configuration: so they agree on
the run directory, which is named after the time, and none repeats a sweep.
"""

import functools
import json
import logging
import os
import shlex
import signal
import sys
import tempfile
import threading
import time
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher
from omegaconf import DictConfig, OmegaConf
from torch.distributed.distributed_c10d import Store
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch
from torch.distributed.rendezvous import rendezvous

from srgan_lightning.cores import usable_cores
from srgan_lightning.errors import UserError
from srgan_lightning.launched import FLAG

COMMAND = "SRGAN_LIGHTNING_COMMAND"  # tells a process that `launch` started what the user typed
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)  # passed on to the processes; not SIGHUP, or nohup would fail


def cluster() -> ClusterEnvironment | None:
    """What started this process among others: torchrun, srun, or None for a process on its own."""
    if TorchElasticEnvironment.detect():
        return TorchElasticEnvironment()
    if SLURMEnvironment.detect() and (slurm := SLURMEnvironment()).world_size() > 1:
        return slurm
    return None


def on_cpu(cfg: DictConfig) -> bool:
    """Whether the run's processes are CPU processes."""
    accelerator = cfg.trainer.accelerator
    return accelerator == "cpu" or (accelerator == "auto" and not torch.cuda.is_available())


def check_devices(cfg: DictConfig) -> None:
    """Raise UserError for more CPU processes than the machine can bear; of GPUs, Lightning says it."""
    devices, cores = cfg.trainer.devices, usable_cores()
    if on_cpu(cfg) and isinstance(devices, int) and devices > 2 * cores:
        raise UserError(
            f"trainer.devices={devices} is beyond this machine: no GPU was found or asked for, and its {cores} CPU "
            f"cores are enough for {2 * cores} processes. Lower trainer.devices."
        )


def must_launch(trainer: lightning.Trainer) -> bool:
    """Whether the trainer's processes are still to be started.

    Raises:
        UserError: the processes that are there, or the machines, are not those that the trainer wants.
    """
    devices, nodes, there = trainer.num_devices, trainer.num_nodes, cluster()
    if there is not None:
        if there.world_size() != devices * nodes:
            raise UserError(
                f"torchrun or srun started {there.world_size()} processes, but trainer.devices={devices} x "
                f"trainer.num_nodes={nodes} asks for {devices * nodes}: make trainer.devices the processes of one "
                "machine and trainer.num_nodes the machines."
            )
        return False
    launcher = trainer.strategy.launcher
    if not isinstance(launcher, _SubprocessScriptLauncher):
        return False  # one device, or a strategy that forks
    environment = launcher.cluster_environment
    if environment.creates_processes_externally and not isinstance(environment, SLURMEnvironment):
        return False  # another kind of cluster
    if nodes > 1:
        raise UserError(
            f"trainer.num_nodes={nodes}: start the command on every machine, by srun or with `torchrun "
            f"--nnodes={nodes} --nproc-per-node={devices} --rdzv-backend=c10d --rdzv-endpoint=FIRST_MACHINE:29500 -m "
            "srgan_lightning.train ...` in place of `python -m srgan_lightning.train ...`."
        )
    return True


def launch(cfg: DictConfig, processes: int) -> dict[str, Any]:
    """Run `train` in several processes of this machine.

    Args:
        cfg: the run's configuration.
        processes: how many.

    Returns:
        The summary of the run.

    Raises:
        UserError: a process failed; the others have been ended then.
        SystemExit: this process was told to end; so were the others, and have ended.
    """
    for name in ("agent.server.api", "multiprocessing.api"):  # said again, in tables, what is said below
        logging.getLogger(f"torch.distributed.elastic.{name}").setLevel(logging.CRITICAL)
    handlers = {number: signal.getsignal(number) for number in SIGNALS}  # the agent leaves its own behind
    with tempfile.TemporaryDirectory() as logs:
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=processes,
            run_id=uuid.uuid4().hex,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",  # any free port
            local_addr="localhost",
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(logs),
            signals_to_handle=",".join(number.name for number in SIGNALS),
        )
        os.environ[COMMAND] = shlex.join(sys.orig_argv)
        command = ["-m", "srgan_lightning.train", FLAG, str(os.getpid()), to_json(cfg)]
        try:
            elastic_launch(config, sys.executable)(*command)
        except ChildFailedError as error:
            rank, failure = error.get_first_failure()
            if failure.exitcode - 128 in SIGNALS:  # it was told to end by itself, has saved its work, and said so
                raise SystemExit(failure.exitcode) from None
            how = f"with exit code {failure.exitcode}; what it had to say stands above"
            if failure.exitcode < 0:
                how = f"by {failure.signal_name()}, which the system sends too when memory is short"
            raise UserError(f"Process {rank} of {processes} ended {how}. The others were ended with it.") from None
        except SignalException as error:
            raise SystemExit(128 + error.sigval) from None
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
    summary: dict[str, Any] = json.loads((Path(cfg.run_dir) / "summary.json").read_text(encoding="utf-8"))
    return summary


def handed_configuration() -> DictConfig | None:
    """The configuration that the first process hands to this one; None where this is the first.

    Raises:
        SystemExit: the first process has nothing to be done, or more than one thing.
    """
    if sys.argv[1:2] == [FLAG]:
        threading.Thread(target=end_with, args=(int(sys.argv[2]),), daemon=True).start()
        return from_json(sys.argv[3])
    there = cluster()
    if there is None:
        return None
    if {"-m", "--multirun"} & {*sys.argv}:
        first = there.global_rank() == 0
        raise SystemExit(
            "A sweep starts the processes of every job itself: leave torchrun or srun away and set trainer.devices, or "
            "give the jobs to SLURM with hydra/launcher=slurm."
            if first
            else 1
        )
    store = meeting_point()  # opened by the first process too, and at once: its end is noticed by those who wait
    if there.global_rank() == 0:
        return None
    return from_json(store.get(key()))


def hand_over(cfg: DictConfig | None) -> None:
    """Hand the configuration to the processes that wait for it; None ends those that still wait."""
    there = cluster()
    if there is not None and there.global_rank() == 0:
        meeting_point().compare_set(key(), "", to_json(cfg))


def to_json(cfg: DictConfig | None) -> str:
    """A configuration as text, resolved: Hydra's own values are known to the first process alone."""
    return json.dumps(cfg if cfg is None else OmegaConf.to_container(cfg, resolve=True))


def from_json(text: str | bytes) -> DictConfig:
    """The configuration that `to_json` wrote; SystemExit where it was none."""
    if (cfg := json.loads(text)) is None:
        raise SystemExit(0)
    return DictConfig(cfg)


def key() -> str:
    """Where the configuration is in the store, anew whenever torchrun starts its processes again."""
    return f"srgan_lightning/configuration/{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}"


@functools.cache
def meeting_point() -> Store:
    """The store at MASTER_ADDR and MASTER_PORT, which the process group will use after us."""
    there = cluster()
    assert there is not None
    os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = there.main_address, str(there.main_port)
    patience = timedelta(days=1)  # for the first process to prepare the data
    store: Store = next(rendezvous("env://", there.global_rank(), there.world_size(), timeout=patience))[0]
    return store


def end_with(parent: int) -> None:
    """End this process when its parent has gone, were it by SIGKILL, lest it trains on with nobody to look after it."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def images_per_update(cfg: DictConfig, processes: int) -> str:
    """The effective batch, in words."""
    accumulate = cfg.trainer.accumulate_grad_batches * cfg.model.get("accumulate_grad_batches", 1)
    return (
        f"{cfg.data.batch_size * processes * accumulate} images per update (data.batch_size {cfg.data.batch_size}, "
        f"processes {processes}, accumulated {accumulate}); learning rates are used as given."
    )
