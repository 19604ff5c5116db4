"""Systems and devices other than Linux with CUDA."""

import json
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning
import pytest
import torch
from hydra.utils import instantiate
from lightning import Callback
from lightning.pytorch.accelerators import MPSAccelerator
from lightning.pytorch.strategies import SingleDeviceStrategy
from omegaconf import DictConfig, OmegaConf
from torch._C._distributed_c10d import FileStore

from srgan_lightning.artifacts.artifact import read_artifact
from srgan_lightning.data.degradation import Blur
from srgan_lightning.data.folder import FolderData
from srgan_lightning.data.synthetic.datamodule import SyntheticData
from srgan_lightning.train import build_trainer, train
from srgan_lightning.training.processes import check_devices, on_cpu
from srgan_lightning.training.strategy import PerNetworkDDP
from srgan_lightning.utils.cores import usable_cores
from srgan_lightning.utils.errors import UserError
from tests.conftest import TINY_FACES, TINY_SRGAN

Configure = Callable[..., DictConfig]
QUICK = ["experiment=quickstart", *TINY_SRGAN, *TINY_FACES, "trainer.max_steps=3", "trainer.val_check_interval=3"]


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system has no affinity")
def test_cores_are_those_that_the_process_may_run_on() -> None:
    assert usable_cores() == len(os.sched_getaffinity(0))


def test_cores_are_counted_where_the_system_has_no_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on macOS: defaults and errors work without affinity."""
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert usable_cores() == 6
    assert SyntheticData(4, 2, 64, degradation=Blur(4, 5)).workers == 5
    for devices in (13, "13"):
        with pytest.raises(UserError, match="its 6 CPU cores are enough for 12"):
            check_devices(OmegaConf.create({"trainer": {"accelerator": "cpu", "devices": devices}}))
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert usable_cores() == 1


@pytest.mark.parametrize("mps", [False, True])
def test_auto_is_the_cpu_only_where_lightning_takes_it(monkeypatch: pytest.MonkeyPatch, mps: bool) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(MPSAccelerator, "is_available", lambda: mps)
    assert on_cpu(OmegaConf.create({"trainer": {"accelerator": "auto"}})) is not mps
    assert on_cpu(OmegaConf.create({"trainer": {"accelerator": "cpu"}}))


def test_no_float64_goes_to_the_device(photos: Callable[..., Path]) -> None:
    """MPS has no float64."""
    data = FolderData(
        str(photos("train")),
        str(photos("val")),
        degradation=Blur(4, 5),
        batch_size=4,
        crop=32,
        rotate=True,
        random_scale=0.8,
        shuffle_channels=True,
        num_workers=0,
    )
    data.setup("fit")
    for loader in (data.train_dataloader(), data.val_dataloader()):
        batch = next(iter(loader))
        kinds = {name: value.dtype for name, value in batch.items()}
        assert kinds["degradation_u"] == torch.float32
        assert torch.float64 not in kinds.values(), kinds


def _count_workers(rank: int, store: str, cores: list[set[int]], results: Any) -> None:
    os.sched_getaffinity = lambda _: cores[rank]
    torch.distributed.init_process_group("gloo", store=FileStore(store, len(cores)), rank=rank, world_size=len(cores))
    data = SyntheticData(8, 2, 64, degradation=Blur(4, 5), batch_size=2)
    data.trainer = SimpleNamespace(world_size=len(cores), num_devices=len(cores), node_rank=0, global_rank=rank)  # type: ignore[assignment]
    data.setup("fit")
    results.put(data.workers)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system has no affinity")
@pytest.mark.parametrize(
    ("cores", "workers"),
    [
        ([{*range(8)}, {*range(8, 16)}], 7),
        ([{*range(16)}, {*range(16)}], 7),
        ([{0}, {0}], 1),
        ([{*range(3)}] * 4, 1),  # more processes than cores
    ],
)
def test_cores_that_a_process_has_to_itself_are_not_divided(
    tmp_path: Path, cores: list[set[int]], workers: int
) -> None:
    """SLURM binds each process to its share of the cores. Without binding, the processes share all cores."""
    fork = multiprocessing.get_context("fork")
    results = fork.Queue()
    processes = [
        fork.Process(target=_count_workers, args=(rank, str(tmp_path / "store"), cores, results))
        for rank in range(len(cores))
    ]
    for process in processes:
        process.start()
    assert [results.get(timeout=60) for _ in processes] == [workers] * len(cores)
    for process in processes:
        process.join()


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulate two GPUs that Lightning finds, but that nothing can run on."""
    for package in ("fabric", "pytorch"):
        monkeypatch.setattr(f"lightning.{package}.accelerators.cuda.num_cuda_devices", lambda: 2)


GPUS = [*TINY_SRGAN, *TINY_FACES, "trainer.accelerator=gpu"]


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize("devices", ["[1]", "1"])
def test_one_device_needs_no_strategy(configure: Callable[..., DictConfig], devices: str) -> None:
    trainer = build_trainer(configure(*GPUS, f"trainer.devices={devices}"), manual=True)
    assert isinstance(trainer.strategy, SingleDeviceStrategy)


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(
    ("options", "synced"),
    [
        (["data.batch_size=16"], False),
        (["data.batch_size=4"], True),
        (["data.batch_size=4", "model.compile=true"], False),
        (["data.batch_size=4", "trainer.sync_batchnorm=false"], False),
        (["data.batch_size=16", "trainer.sync_batchnorm=true"], True),
    ],
)
def test_batchnorm_is_synchronised_where_batches_are_small(
    configure: Callable[..., DictConfig], options: list[str], synced: bool
) -> None:
    trainer = build_trainer(configure(*GPUS, "trainer.devices=-1", *options), manual=True)
    assert isinstance(trainer.strategy, PerNetworkDDP)
    assert (trainer.strategy._layer_sync is not None) == synced


@pytest.mark.parametrize("options", [["trainer.accelerator=gpu", "model.compile=true"], ["trainer.accelerator=cpu"]])
def test_sync_batchnorm_is_refused_where_it_does_not_work(
    configure: Callable[..., DictConfig], options: list[str]
) -> None:
    cfg = configure(*GPUS, "trainer.devices=2", "trainer.sync_batchnorm=true", *options)
    with pytest.raises(UserError, match=r"trainer\.sync_batchnorm=true needs GPUs"):
        build_trainer(cfg, manual=True)


class OnGPU(Callback):
    """Report a GPU as the device at the end of training."""

    def teardown(self, trainer: lightning.Trainer, pl_module: Any, stage: str) -> None:
        trainer.strategy._root_device = torch.device("cuda", 0)  # type: ignore[attr-defined]


@pytest.mark.slow
def test_summary_and_artifact_name_the_device_of_the_training(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lightning moves the module back to the CPU before the results are written."""
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"Accelerator {device}")
    cfg = configure(*QUICK)
    assert train(cfg, [OnGPU()])["device"] == "Accelerator cuda:0"
    _, metadata = read_artifact(Path(cfg.run_dir) / "generator.safetensors")
    assert json.loads(metadata["training"])["device"] == "Accelerator cuda:0"


class Settings(Callback):
    """Return whether cuDNN times its algorithms in training and validation, and whether batches are pinned."""

    def __init__(self) -> None:
        self.benchmark: list[tuple[str, bool]] = []
        self.pinned: bool | None = None

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        self.benchmark.append(("train", torch.backends.cudnn.benchmark))
        self.pinned = trainer.train_dataloader.pin_memory  # type: ignore[union-attr]

    def on_validation_batch_end(self, *_: Any, **__: Any) -> None:
        self.benchmark.append(("validate", torch.backends.cudnn.benchmark))


def test_a_cpu_training_on_a_gpu_machine_leaves_the_gpu_alone(
    configure: Configure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    cfg = configure(*QUICK)
    data = instantiate(cfg.data, degradation=instantiate(cfg.degradation))
    data.setup("fit")
    assert not data.train_dataloader().pin_memory


@pytest.mark.slow
def test_cudnn_times_its_algorithms_only_in_training(configure: Configure) -> None:
    settings = Settings()
    train(configure(*QUICK, "trainer.max_steps=2", "trainer.val_check_interval=1"), [settings])
    assert {*settings.benchmark} == {("train", True), ("validate", False)}
    assert settings.pinned is False
