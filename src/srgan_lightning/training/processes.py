"""The processes of a run: how many there are, what starts them, and how they agree on one configuration.

torchrun and srun have started them before; otherwise `launcher.launch` starts them, apart from this process, so that
the next job of a sweep finds no process group, port or GPU memory that the last one left. In each case the first
process alone reads the command line, and the others receive its configuration: so they agree on the run directory,
which is named after the time, and none repeats a sweep.
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
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher
from omegaconf import DictConfig, OmegaConf
from torch.distributed.distributed_c10d import Store
from torch.distributed.rendezvous import rendezvous

from srgan_lightning.training import launcher
from srgan_lightning.utils.cores import usable_cores
from srgan_lightning.utils.errors import UserError

SMALL_BATCH = 8  # images of one process


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


def count(cfg: DictConfig) -> int:
    """The processes that `trainer.devices` and `trainer.num_nodes` ask for; as Lightning reads them: -1, auto, [1]."""
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
    """Whether a process of several has too few images for BatchNorm's statistics.

    SyncBatchNorm makes all processes wait twice in every layer of every step, and cuts a compiled network into pieces.
    """
    return cfg.data.batch_size < SMALL_BATCH and not cfg.model.compile and not on_cpu(cfg)  # PyTorch has it for GPUs


def check_devices(cfg: DictConfig) -> None:
    """Reject more CPU processes than twice the cores; Lightning checks GPUs, torchrun and srun what they start."""
    devices, cores = cfg.trainer.devices, usable_cores()
    if cluster() is None and on_cpu(cfg) and isinstance(devices, int) and devices > 2 * cores:
        raise UserError(
            f"trainer.devices={devices} is beyond this machine: no GPU was found or asked for, and its {cores} CPU "
            f"cores are enough for {2 * cores} processes. Lower trainer.devices."
        )


def needs_launch(trainer: lightning.Trainer) -> bool:
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


def receive_configuration() -> DictConfig | None:
    """Receive the configuration of the first process; None where this is the first.

    Raises:
        SystemExit: the first process has nothing to be done, or more than one thing.
    """
    if launcher.launched():
        return launcher.configuration()
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
    store = rendezvous_store()  # opened by the first process too, and at once: its end is noticed by those who wait
    if there.global_rank() == 0:
        return None
    return from_json(store.get(key()))


def broadcast_configuration(cfg: DictConfig | None) -> None:
    """Send the configuration to the processes that wait for it; None ends those that still wait."""
    there = cluster()
    if there is not None and not launcher.launched() and there.global_rank() == 0:
        rendezvous_store().compare_set(key(), "", to_json(cfg))


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
def rendezvous_store() -> Store:
    """The store at MASTER_ADDR and MASTER_PORT, which the process group will use after us."""
    there = cluster()
    assert there is not None
    os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = there.main_address, str(there.main_port)
    patience = timedelta(days=1)  # for the first process to prepare the data
    store: Store = next(rendezvous("env://", there.global_rank(), there.world_size(), timeout=patience))[0]
    return store


def images_per_update(cfg: DictConfig, processes: int) -> str:
    """The effective batch, in words."""
    accumulate = cfg.trainer.accumulate_grad_batches * cfg.model.get("accumulate_grad_batches", 1)
    updates = cfg.model.get("discriminator_updates", 1)
    further = f", {updates} times as many for the discriminator" if updates > 1 else ""
    return (
        f"{cfg.data.batch_size * processes * accumulate} images per update (data.batch_size {cfg.data.batch_size}, "
        f"processes {processes}, accumulated {accumulate}){further}; learning rates are used as given."
    )
