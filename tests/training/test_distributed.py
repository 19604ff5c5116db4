"""Two CPU processes simulate several GPUs, and two agents on one machine simulate two machines."""

import csv
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from PIL import Image

from srgan_lightning.cli.config import config_dir
from srgan_lightning.train import build_trainer, train
from srgan_lightning.training import processes
from srgan_lightning.utils.errors import UserError
from tests.conftest import TINY, TINY_FACES, TINY_SRGAN
from tests.helpers.stops import configuration

Run = Callable[..., "subprocess.CompletedProcess[str]"]
PYTHONPATH = os.pathsep.join([str(Path(__file__).resolve().parents[2]), *sys.path])  # finds tests.helpers.faults
RESULTS = {".hydra", "checkpoints", "generator.safetensors", "metrics.csv", "samples", "summary.json", "train.log"}


def two_machines(folder: Path, torchrun: bool, *overrides: str) -> list[tuple[int, str]]:
    """Run `train` in `folder` as torchrun on two machines or srun would; return exit codes and ends of output."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    command = ["-m", "srgan_lightning.train", *overrides, "trainer.num_nodes=2"]
    started = []
    for rank in map(str, range(2)):
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": PYTHONPATH, "MASTER_PORT": port}
        agent = []
        if torchrun:
            agent = ["-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1", f"--node-rank={rank}"]
            agent += ["--master-addr=127.0.0.1", f"--master-port={port}"]
        else:
            environment |= {"SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "1", "SLURM_NNODES": "2"}
            environment |= {"SLURM_PROCID": rank, "SLURM_NODEID": rank, "SLURM_LOCALID": "0"}
            environment |= {"SLURM_NODELIST": "127.0.0.1", "SLURM_JOB_NAME": "train"}
        started.append(
            subprocess.Popen(
                [sys.executable, *agent, *command], cwd=folder, env=environment, stderr=subprocess.PIPE, text=True
            )
        )
    words = [process.communicate(timeout=240)[1] for process in started]
    return [(process.returncode, text) for process, text in zip(started, words, strict=True)]


def losses(run_dir: Path) -> list[float]:
    with (run_dir / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [float(row[name]) for row in rows for name in sorted(row) if name.startswith("loss/") and row[name]]


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["srgan", "srgan_twice", "srresnet"])
def test_two_processes_take_the_steps_of_one(run_module: Run, tmp_path: Path, stage: str) -> None:
    """The same global batch gives equal gradients. With plain SGD at rate 1, weights move by exactly these."""
    sgd = "{_target_: torch.optim.SGD, _partial_: true, lr: 0.1}"
    overrides = [
        *(TINY_SRGAN if stage != "srresnet" else ["experiment=srresnet_celeba", "data=synthetic", *TINY]),
        *TINY_FACES,
        "~model.generator_optimizer",
        f"+model.generator_optimizer={sgd}",
        "model.generator.global_skip=none",
        "trainer.max_steps=2",
        "+callbacks.freeze={_target_: tests.helpers.batchnorm.FreezeBatchNorm}",
        "degradation=blur",
        "degradation.kernel=5",
    ]
    if stage != "srresnet":
        overrides += ["~model.discriminator_optimizer", f"+model.discriminator_optimizer={sgd}"]
    if stage == "srgan_twice":
        overrides.append("model.discriminator_updates=2")
    one = train(configuration(tmp_path / "one", [*overrides, "data.batch_size=4"]))
    if stage != "srresnet":
        where = f"hydra.run.dir={tmp_path / 'two'}"
        done = run_module("train", where, *overrides, "trainer.devices=2", PYTHONPATH=PYTHONPATH)
        assert done.returncode == 0, done.stderr
        two = json.loads((tmp_path / "two/summary.json").read_text())
    else:
        assert [code for code, _ in two_machines(tmp_path, True, *overrides)] == [0, 0]
        (run,) = (tmp_path / "outputs/srresnet_celeba").iterdir()  # one for both processes
        assert {path.name for path in run.iterdir()} >= RESULTS
        two = json.loads((run.rename(tmp_path / "two") / "summary.json").read_text())
    assert (one["processes"], two["processes"]) == (1, 2)
    assert one["steps"] == two["steps"] == 2
    a, b = (
        torch.load(tmp_path / name / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for name in ("one", "two")
    )
    for name, value in a.items():
        torch.testing.assert_close(b[name], value, atol=2e-6, rtol=1e-4, msg=lambda text, name=name: f"{name}: {text}")
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), abs=1e-5)
    # Three validation images on two processes: the sampler repeats one, which does not count.
    for name in ("psnr_y", "ssim_y", "bicubic_psnr_y"):
        assert two[name] == pytest.approx(one[name], abs=1e-4)
    grids = [sorted((tmp_path / name / "samples").glob("*.png"))[-1] for name in ("one", "two")]
    with Image.open(grids[0]) as mine, Image.open(grids[1]) as theirs:  # of all images, whichever process scored them
        assert mine.size == theirs.size
        assert np.abs(np.asarray(mine, np.float32) - np.asarray(theirs, np.float32)).max() <= 2


@pytest.mark.slow
def test_a_sweep_runs_every_job_once(run_module: Run, tmp_path: Path) -> None:
    """Both jobs set only `trainer.devices=2`."""
    done = run_module(
        "train", "-m", "loss.adversarial=0,1e-3", *TINY_SRGAN, *TINY_FACES, "trainer.max_steps=2", "trainer.devices=2"
    )
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"multirun"}
    (sweep,) = (tmp_path / "multirun/custom").iterdir()
    assert {path.name for path in sweep.iterdir()} == {"0", "1", "multirun.yaml"}
    for job in (sweep / "0", sweep / "1"):
        assert json.loads((job / "summary.json").read_text())["processes"] == 2
        assert {path.name for path in job.iterdir()} >= RESULTS
        assert len(list((job / "samples").iterdir())) == 1
    assert done.stdout.count("4 images per update") == done.stdout.count("Run directory") == 2
    assert losses(sweep / "0") != losses(sweep / "1")


@pytest.mark.slow
def test_a_sweep_through_submitit(run_module: Run, tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="needs the extra `slurm`")
    done = run_module(
        "train", "-m", "hydra/launcher=submitit_local", "seed=1,2", *TINY_SRGAN, *TINY_FACES, "trainer.max_steps=1"
    )
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.rglob("summary.json"))) == 2


def test_slurm_launcher_asks_for_what_the_trainer_uses() -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason="needs the extra `slurm`")
    with initialize_config_dir(version_base="1.3", config_dir=str(config_dir())):
        cfg = compose("train", ["hydra/launcher=slurm", "trainer.devices=4"], return_hydra_config=True)
    assert cfg.hydra.launcher._target_.endswith("SlurmLauncher")
    assert (cfg.hydra.launcher.gpus_per_node, cfg.hydra.launcher.tasks_per_node) == (4, 1)


@pytest.mark.slow
def test_srun_on_two_machines(tmp_path: Path) -> None:
    done = two_machines(tmp_path, False, *TINY_SRGAN, *TINY_FACES, "trainer.max_steps=1")
    assert [code for code, _ in done] == [0, 0], done
    (run,) = (tmp_path / "outputs/custom").iterdir()
    assert json.loads((run / "summary.json").read_text())["processes"] == 2


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.parametrize("how", ["kill", "raise"])
def test_a_dead_process_ends_the_run(run_module: Run, how: str) -> None:
    die = f"+callbacks.die={{_target_: tests.helpers.faults.Die, rank: 1, how: {how}}}"
    overrides = [*TINY_SRGAN, *TINY_FACES, "trainer.max_steps=50", "trainer.devices=2", die]
    done = run_module("train", *overrides, PYTHONPATH=PYTHONPATH)
    last = float(done.stdout.split("died at ")[1].split()[0])
    assert time.time() - last < 60
    assert done.returncode == 1
    assert f"Process 1 of 2 {'was killed' if how == 'kill' else 'exited'}" in done.stderr
    assert ("SIGKILL" if how == "kill" else "RuntimeError: rank is broken") in done.stderr


@pytest.mark.slow
@pytest.mark.faults
def test_a_dead_process_ends_the_run_on_all_machines(tmp_path: Path) -> None:
    die = "+callbacks.die={_target_: tests.helpers.faults.Die, rank: 1, how: kill}"
    done = two_machines(tmp_path, True, *TINY_SRGAN, *TINY_FACES, "trainer.max_steps=50", die)
    assert [code for code, _ in done] == [1, 1]
    assert "SIGKILL" in done[1][1]


def test_too_few_or_too_many_processes_are_reported(
    configure: Callable[..., DictConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    torchrun = {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "4", "RANK": "0", "LOCAL_RANK": "0", "GROUP_RANK": "0"}
    for name, value in torchrun.items():
        monkeypatch.setenv(name, value)
    cfg = configure(*TINY_SRGAN, *TINY_FACES, "trainer.devices=2")
    with pytest.raises(UserError, match=r"started 4 processes.*trainer\.devices=2 x trainer\.num_nodes=1"):
        processes.needs_launch(build_trainer(cfg, manual=True))
    cfg.trainer.num_nodes = 2
    assert not processes.needs_launch(build_trainer(cfg, manual=True))
    monkeypatch.setattr(sys, "argv", ["train", "-m", "seed=1,2"])
    with pytest.raises(SystemExit, match="instead of using torchrun or srun"):
        processes.receive_configuration()


def test_the_effective_batch(configure: Callable[..., DictConfig]) -> None:
    cfg = configure(*TINY_SRGAN, "model.accumulate_grad_batches=3")
    assert processes.images_per_update(cfg, 4).startswith("24 images per update")
    cfg = configure("experiment=srresnet_celeba", "data=synthetic", *TINY, "trainer.accumulate_grad_batches=5")
    assert processes.images_per_update(cfg, 1).startswith("10 images per update")


@pytest.mark.slow
@pytest.mark.faults
def test_a_signal_to_the_command_stops_its_processes(run_module: Run, tmp_path: Path) -> None:
    """SIGTERM gives one checkpoint, a summary and exit code 143. A resume in the same directory then finishes."""
    overrides = [*TINY_SRGAN, *TINY_FACES, "trainer.devices=2", "trainer.max_steps=6", "ckpt_path=auto"]
    tell = "+callbacks.tell={_target_: tests.helpers.stops.TellParent, batch: 3}"
    done = run_module("train", *overrides, tell, PYTHONPATH=PYTHONPATH)
    assert done.returncode == 143, done.stderr
    (run,) = (tmp_path / "outputs/custom").iterdir()
    summary = json.loads((run / "summary.json").read_text())
    assert summary["interrupted"]
    assert 3 <= summary["steps"] < 6
    done = run_module("train", *overrides, PYTHONPATH=PYTHONPATH)
    assert done.returncode == 0, done.stderr
    assert [*(tmp_path / "outputs/custom").iterdir()] == [run]
    summary = json.loads((run / "summary.json").read_text())
    assert (summary["interrupted"], summary["steps"], summary["processes"]) == (False, 6, 2)
