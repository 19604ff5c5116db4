"""Count and start the processes of a run, and send them one configuration.

torchrun or srun may have started the processes. Otherwise `launcher.launch` starts new ones, and this process only
waits for them. So a job of a sweep leaves no process group, port or GPU memory to the next one. In each case only one
process reads the command line, and sends its configuration to the others. So all use the same run directory, whose
name depends on the time, and none repeats a sweep.
"""

import functools
import json
import os
import sys
from datetime import timedelta

import lightning
import torch
from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.accelerators import CPUAccelerator, MPSAccelerator
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher
from omegaconf import DictConfig, OmegaConf
from torch.distributed.distributed_c10d import Store
from torch.distributed.rendezvous import rendezvous

from srgan_lightning.training import launcher
from srgan_lightning.utils.cores import usable_cores
from srgan_lightning.utils.errors import UserError

SMALL_BATCH = 8  # images per process; fewer give poor BatchNorm statistics


def cluster() -> ClusterEnvironment | None:
    """Return the environment of torchrun, or of srun with several processes; None without either.

    Workers of `launcher.launch` count as started by torchrun, because they have its environment variables.
    """
    if TorchElasticEnvironment.detect():
        return TorchElasticEnvironment()
    if SLURMEnvironment.detect() and (slurm := SLURMEnvironment()).world_size() > 1:
        return slurm
    return None


def on_cpu(cfg: DictConfig) -> bool:
    """Check whether the run uses CPU processes."""
    accelerator = cfg.trainer.accelerator
    return accelerator == "cpu" or (
        accelerator == "auto" and not torch.cuda.is_available() and not MPSAccelerator.is_available()
    )


def count(cfg: DictConfig) -> int:
    """Return the number of processes for `trainer.devices` (also -1, auto, [1]) and `trainer.num_nodes`."""
    asked = cfg.trainer
    if asked.devices == 1 and asked.num_nodes == 1:
        return 1
    trainer = lightning.Trainer(
        accelerator=asked.accelerator,
        devices=asked.devices,
        num_nodes=asked.num_nodes,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    return trainer.num_devices * trainer.num_nodes


def needs_sync_batchnorm(cfg: DictConfig) -> bool:
    """Check whether each process has too few images for BatchNorm statistics, and SyncBatchNorm can be used.

    SyncBatchNorm works only on GPUs. It synchronises all processes twice in every layer of every step, and splits a
    compiled network.
    """
    return cfg.data.batch_size < SMALL_BATCH and not cfg.model.compile and not on_cpu(cfg)


def check_devices(cfg: DictConfig) -> None:
    """Reject more CPU processes than twice the number of cores.

    Lightning checks the number of GPUs. torchrun and srun check the processes that they start.

    Raises:
        UserError: there are too many CPU processes.
    """
    if cluster() is not None or not on_cpu(cfg):
        return
    cores = usable_cores()
    try:
        devices = CPUAccelerator.parse_devices(cfg.trainer.devices)
    except TypeError:
        return  # Lightning reports it when the Trainer is made
    if devices > 2 * cores:
        raise UserError(
            f"trainer.devices={devices} is too many for this machine: no GPU was found or requested, and its {cores} "
            f"CPU cores are enough for {2 * cores} processes. Lower trainer.devices."
        )


def needs_launch(trainer: lightning.Trainer) -> bool:
    """Check whether the Trainer's processes must still be started.

    Raises:
        UserError: the number of running processes or machines does not match the Trainer.
    """
    devices, nodes, there = trainer.num_devices, trainer.num_nodes, cluster()
    if there is not None:
        if there.world_size() != devices * nodes:
            raise UserError(
                f"torchrun or srun started {there.world_size()} processes, but trainer.devices={devices} x "
                f"trainer.num_nodes={nodes} needs {devices * nodes}: set trainer.devices to the number of processes "
                "per machine, and trainer.num_nodes to the number of machines."
            )
        return False
    launcher = trainer.strategy.launcher
    if not isinstance(launcher, _SubprocessScriptLauncher):
        return False  # one device, or a strategy that forks
    environment = launcher.cluster_environment
    if environment.creates_processes_externally and not isinstance(environment, SLURMEnvironment):
        return False  # another kind of cluster, which has started the processes
    if nodes > 1:
        raise UserError(
            f"trainer.num_nodes={nodes}: start the command on every machine, with srun or with `torchrun "
            f"--nnodes={nodes} --nproc-per-node={devices} --rdzv-backend=c10d --rdzv-endpoint=FIRST_MACHINE:29500 -m "
            "srgan_lightning.train ...` instead of `python -m srgan_lightning.train ...`."
        )
    return True


def receive_configuration() -> DictConfig | None:
    """Receive the configuration from rank zero of torchrun or srun, or from the process that launched this worker.

    Return None if this process reads the command line itself.

    Raises:
        SystemExit: rank zero has nothing to run, or the command line of torchrun or srun asks for a sweep.
    """
    if launcher.launched():
        return launcher.configuration()
    there = cluster()
    if there is None:
        return None
    if {"-m", "--multirun"} & {*sys.argv}:
        first = there.global_rank() == 0
        raise SystemExit(
            "A sweep starts the processes of every job itself: set trainer.devices instead of using torchrun or srun, "
            "or submit the jobs to SLURM with hydra/launcher=slurm."
            if first
            else 1
        )
    # Rank zero opens the store too, and at once, so that the waiting processes notice if rank zero exits.
    store = rendezvous_store()
    if there.global_rank() == 0:
        return None
    return from_json(store.get(key()))


def broadcast_configuration(cfg: DictConfig | None) -> None:
    """Send the configuration to the waiting processes; None lets them exit. Only the first call has an effect."""
    there = cluster()
    if there is not None and not launcher.launched() and there.global_rank() == 0:
        rendezvous_store().compare_set(key(), "", to_json(cfg))


def to_json(cfg: DictConfig | None) -> str:
    """Resolve a configuration and encode it as text; only rank zero can resolve Hydra's values."""
    return json.dumps(cfg if cfg is None else OmegaConf.to_container(cfg, resolve=True))


def from_json(text: str | bytes) -> DictConfig:
    """Decode a configuration from `to_json`; raise SystemExit if it was None."""
    if (cfg := json.loads(text)) is None:
        raise SystemExit(0)
    return DictConfig(cfg)


def key() -> str:
    """Return the key of the configuration in the store. After each restart by torchrun it is a new key."""
    return f"srgan_lightning/configuration/{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}"


@functools.cache
def rendezvous_store() -> Store:
    """Open the store at MASTER_ADDR and MASTER_PORT. The process group uses the same store afterwards."""
    there = cluster()
    assert there is not None
    os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = there.main_address, str(there.main_port)
    patience = timedelta(days=1)  # time for rank zero to prepare the data
    store: Store = next(rendezvous("env://", there.global_rank(), there.world_size(), timeout=patience))[0]
    return store


def images_per_update(cfg: DictConfig, processes: int) -> str:
    """Describe the effective batch size."""
    accumulate = cfg.trainer.accumulate_grad_batches * cfg.model.get("accumulate_grad_batches", 1)
    updates = cfg.model.get("discriminator_updates", 1)
    further = f", {updates} times as many for the discriminator" if updates > 1 else ""
    return (
        f"{cfg.data.batch_size * processes * accumulate} images per update (data.batch_size {cfg.data.batch_size}, "
        f"processes {processes}, accumulated {accumulate}){further}. Learning rates do not scale with this number."
    )
