"""`trainer.precision=auto`: its choice and message, the precision of resumed runs, and float32 parts."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning
import pytest
import torch
from omegaconf import DictConfig

from srgan_lightning.train import train
from srgan_lightning.training import precision as choosing
from srgan_lightning.training.precision import devices_of, fastest_precision, resolve_precision
from srgan_lightning.utils import bf16
from srgan_lightning.utils.bf16 import fast_bf16
from srgan_lightning.utils.errors import UserError
from tests.conftest import ALL_TERMS, TINY, TINY_FACES, TINY_SRGAN
from tests.helpers.stops import SRGAN, configuration, differences, stopped

Configure = Callable[..., DictConfig]
CPU = torch.device("cpu")
AUTO = "trainer.precision=auto"


@pytest.fixture
def cpu(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Simulate the CPU's instructions."""

    def claim(**capabilities: bool) -> None:
        monkeypatch.setattr(bf16, "cpu_capabilities", lambda: capabilities)

    return claim


def test_bf16_is_taken_where_the_cpu_has_instructions_for_it(cpu: Callable[..., None]) -> None:
    cpu(avx2=True, avx512_bf16=True, amx_bf16=False)
    assert fastest_precision([CPU]) == ("bf16-mixed", "this CPU has AVX512_BF16")
    cpu(avx512_bf16=True, amx_bf16=True)
    assert fastest_precision([CPU]) == ("bf16-mixed", "this CPU has AVX512_BF16 and AMX")
    cpu(avx512_f=True)
    assert fastest_precision([CPU]) == ("32-true", "this CPU has no AVX512_BF16 or AMX")
    assert fastest_precision([torch.device("mps")])[0] == "32-true"


def test_pytorch_without_a_list_of_capabilities_is_asked_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    known = bf16.cpu_capabilities()
    monkeypatch.setattr(torch, "cpu", SimpleNamespace(_is_avx512_bf16_supported=lambda: True))
    assert bf16.cpu_capabilities() == {"avx512_bf16": True, "amx_bf16": False}
    monkeypatch.undo()
    assert bf16.cpu_capabilities() == known


@pytest.mark.slow
def test_bf16_is_taken_from_ampere_on(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    """The slowest of the used devices decides."""
    capabilities = [(9, 0), (7, 5), (8, 0)]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(capabilities))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capabilities[device.index])
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"GPU {device.index}")
    for words, expected in (
        ([], "bf16-mixed"),
        (["trainer.devices=2"], "32-true"),
        (["trainer.devices=[0,2]"], "bf16-mixed"),
        (["trainer.devices=[1]"], "32-true"),
        (["trainer.devices='1'"], "bf16-mixed"),
        (["trainer.devices='2'"], "32-true"),
        (["trainer.devices='0,2'"], "bf16-mixed"),
        (["trainer.devices='1,'"], "32-true"),
        (["trainer.devices='-1'"], "32-true"),
        (["trainer=ddp"], "32-true"),
        (["trainer=gpu"], "bf16-mixed"),
    ):
        assert fastest_precision(devices_of(configure(*words)))[0] == expected, words
    assert fast_bf16(torch.device("cuda", 1)) == (False, "GPU 1 has compute capability 7.5, below 8.0")
    assert devices_of(configure("trainer.devices='0,2'")) == [torch.device("cuda", 0), torch.device("cuda", 2)]
    for wrong in ("4", "[7]", "'two'"):  # Lightning reports it later
        assert devices_of(configure(f"trainer.devices={wrong}")) == [torch.device("cuda", 0)]
    assert devices_of(configure("trainer=cpu")) == [CPU]


@pytest.mark.slow
def test_all_experiments_except_the_papers_use_auto(configure: Configure) -> None:
    assert configure().trainer.precision == "auto"
    for name in (
        "quickstart",
        "celeba_blur",
        "srgan_celeba",
        "srresnet_celeba",
        "faces_srresnet",
        "faces_srgan",
        "finetune",
    ):
        assert configure(f"experiment={name}").trainer.precision == "auto", name
        assert configure(f"experiment={name}", "trainer=gpu").trainer.precision == "auto", name
    for name in ("paper_srgan", "paper_srresnet"):
        assert configure(f"experiment={name}").trainer.precision == "32-true", name


@pytest.mark.slow
def test_a_run_reports_its_precision_first_and_records_it(
    configure: Configure, cpu: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    cpu(avx512_bf16=True)
    cfg = configure("experiment=quickstart", *TINY_SRGAN, *TINY_FACES, "trainer.max_steps=1", AUTO)
    train(cfg)
    said = capsys.readouterr().out.splitlines()
    assert (
        said[0] == "Precision bf16-mixed, since this CPU has AVX512_BF16. Set trainer.precision=32-true to change it."
    )
    run = Path(cfg.run_dir)
    assert json.loads((run / "provenance.json").read_text())["config"]["trainer"]["precision"] == "bf16-mixed"
    assert torch.load(run / "checkpoints/last.ckpt", weights_only=True)["precision"] == "bf16-mixed"
    assert said[0] in (run / "train.log").read_text()


@pytest.mark.slow
def test_a_run_in_bf16_stopped_and_resumed_by_auto_elsewhere_is_the_uninterrupted_one(
    tmp_path: Path, cpu: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    """Resume bit-identically, once within an update and once after one, on a machine that would choose float32."""
    overrides = [*SRGAN, "trainer.max_steps=3", "trainer.val_check_interval=2", AUTO]
    whole, parts = tmp_path / "whole/0", tmp_path / "parts/0"
    cpu(avx512_bf16=True)
    train(configuration(whole, overrides))
    stopped(parts, overrides, 2)
    cpu()
    stopped(parts, overrides, 6)
    capsys.readouterr()
    train(configuration(parts, overrides, ckpt_path="last"))
    said = "Precision bf16-mixed, since the resumed run started with it. Set trainer.precision=32-true to change it.\n"
    assert said in capsys.readouterr().out
    assert differences(whole, parts) == []


def test_a_checkpoint_without_a_precision_is_of_float32(
    configure: Configure, tmp_path: Path, cpu: Callable[..., None]
) -> None:
    cpu(avx512_bf16=True)
    path = tmp_path / "old.ckpt"
    checkpoint: dict[str, Any] = {"state_dict": {}, "generator": {}}
    for held, expected in (({}, "32-true"), ({"precision": "16-mixed"}, "16-mixed")):
        torch.save({**checkpoint, **held}, path)
        cfg = configure(AUTO)
        resolve_precision(cfg, str(path))
        assert cfg.trainer.precision == expected
    torch.save({**checkpoint, "precision": ["64-true"]}, path)
    with pytest.raises(UserError, match=r"precision is \['64-true'\]"):
        resolve_precision(configure(AUTO), str(path))


@pytest.mark.slow
def test_all_processes_use_the_precision_that_rank_zero_resolved(
    configure: Configure, cpu: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    cpu(avx512_bf16=True)
    handed: list[DictConfig] = []
    monkeypatch.setattr("srgan_lightning.training.run.launch", lambda cfg, processes: handed.append(cfg) or {})
    train(configure("experiment=quickstart", *TINY_SRGAN, *TINY_FACES, AUTO, "trainer.devices=2"))
    assert handed[0].trainer.precision == "bf16-mixed"
    monkeypatch.setattr(choosing, "is_rank_zero", lambda: False)
    cfg = configure(AUTO)
    resolve_precision(cfg, None)
    assert cfg.trainer.precision == "auto"  # rank zero's choice comes with its configuration


class Types(lightning.Callback):
    """Return the dtypes of a bf16 step's stored tensors, convolutions and losses."""

    def __init__(self) -> None:
        self.convolved: set[torch.dtype] = set()
        self.kept: dict[str, set[torch.dtype]] = {}

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        def note(*given: Any) -> None:
            if pl_module.training:  # validation is in float32
                self.convolved.add(given[-1].dtype)

        for network in (pl_module.generator.trunk[0].body[0], pl_module.discriminator.get_submodule("features.0")):
            network.register_forward_hook(note)
        pl_module.generator.register_forward_hook(lambda *given: self._add("image", [given[-1]]))

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *_: Any) -> None:
        self._add("losses", [value for name, value in pl_module.values.items() if name.startswith("loss/")])
        self._add("weights", pl_module.state_dict().values())
        self._add("gradients", [p.grad for p in pl_module.parameters() if p.grad is not None])
        for optimizer in trainer.optimizers:
            self._add("moments", [value for state in optimizer.state.values() for value in state.values()])
        self._add("average", next(c for c in trainer.callbacks if hasattr(c, "average")).average.values())

    def _add(self, name: str, tensors: Any) -> None:
        types = {tensor.dtype for tensor in tensors if isinstance(tensor, torch.Tensor) and tensor.is_floating_point()}
        self.kept.setdefault(name, set()).update(types)


@pytest.mark.slow
def test_in_bf16_only_the_convolutions_are_bf16(configure: Configure) -> None:
    types = Types()
    words = ["experiment=quickstart", *TINY_SRGAN, *TINY_FACES, *ALL_TERMS, "trainer.max_steps=2"]
    cfg = configure(*words, "trainer.precision=bf16-mixed", "model.generator.global_skip=bicubic")
    train(cfg, [types])
    assert types.convolved == {torch.bfloat16}
    for name in ("image", "losses", "weights", "moments", "average"):
        assert types.kept[name] == {torch.float32}, name
    checkpoint = torch.load(Path(cfg.run_dir) / "checkpoints/last.ckpt", weights_only=True)
    for part in (checkpoint["state_dict"], checkpoint["generator_ema"], checkpoint["latest"]):
        assert {t.dtype for t in part.values() if t.is_floating_point()} == {torch.float32}


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["srgan", "srresnet"])
def test_the_default_trains(configure: Configure, stage: str) -> None:
    """Leave `trainer.precision=auto`, whatever this machine's CPU chooses."""
    words = (
        ["experiment=quickstart", *TINY_SRGAN]
        if stage == "srgan"
        else ["experiment=srresnet_celeba", "data=synthetic", *TINY]
    )
    words = [*words, *TINY_FACES, "trainer.max_steps=1"]
    assert train(configure(*(word for word in words if "precision" not in word)))["steps"] == 1
