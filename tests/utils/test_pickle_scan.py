"""Files of `torch.save` that claim more memory than their length are refused before any allocation."""

import collections
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.optim import AdamW, lr_scheduler

from srgan_lightning.artifacts.artifact import read_checkpoint
from srgan_lightning.utils.errors import UserError
from srgan_lightning.utils.safe_load import safe_torch_load
from tests.helpers.generators import tiny_checkpoint, tiny_generator

STORAGE = b"(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\0%sX\3\0\0\0cpuJ%s%stQ"
MAGIC = [torch.serialization.MAGIC_NUMBER, torch.serialization.PROTOCOL_VERSION, {}]


def storage(numbers: int, key: bytes = b"0", legacy: bool = False) -> bytes:
    return STORAGE % (key, numbers.to_bytes(4, "little"), b"N" * legacy)


def tensor(numbers: int, stored: bytes, stride: int = 1) -> bytes:
    size, step = (n.to_bytes(4, "little") for n in (numbers, stride))
    return b"ctorch._utils\n_rebuild_tensor_v2\n(%sK\0J%s\x85J%s\x85\x89N" % (stored, size, step) + b"tR"


def write_zip(path: Path, body: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        members = {"data.pkl": b"\x80\2" + body + b".", "version": b"3\n", "byteorder": b"little", "data/0": bytes(16)}
        for name, content in members.items():
            archive.writestr(f"archive/{name}", content)
    return path


def write_legacy(path: Path, body: bytes) -> Path:
    heads = b"".join(pickle.dumps(part, protocol=2) for part in MAGIC)
    keys = pickle.dumps(["0"], protocol=2)
    path.write_bytes(heads + b"\x80\2" + body + b"." + keys + (4).to_bytes(8, "little") + bytes(16))
    return path


WRITERS = [write_zip, write_legacy]
BYTES = b"c__builtin__\nbytearray\nJ%s\x85R" % (2**28).to_bytes(4, "little")


@pytest.mark.parametrize("write", WRITERS)
def test_some_hundred_bytes_do_not_become_gigabytes(tmp_path: Path, write: Any, little_memory: None) -> None:
    path = write(tmp_path / "w.ckpt", BYTES)
    assert path.stat().st_size < 1000
    with pytest.raises(UserError, match=r"w\.ckpt cannot be read as a checkpoint: it holds __builtin__\.bytearray"):
        read_checkpoint(path)


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"ctorch\nFloatStorage\nJ%s\x85R" % (10**8).to_bytes(4, "little"), "calls torch.FloatStorage"),
        (b"ctorch\nFloatTensor\nJ%s\x85R" % (10**8).to_bytes(4, "little"), "holds torch.FloatTensor"),
        (storage(10**8, legacy=True), "100,000,000 numbers, which does not fit into the file"),
        (tensor(10**8, storage(4, legacy=True)), "declares a tensor of 100,000,000"),
        (tensor(10**8, storage(4, legacy=True), stride=0), "declares a tensor of 100,000,000"),
        (b"]q\0(" + b"K\1" * 500 + b"ec__builtin__\nset\nh\0\x85R", "copies a part of itself"),
        (b"}q\0ccollections\nOrderedDict\n)Rh\0b", "sets attributes"),
        (b"ctorch.nn.parameter\nParameter\n)R(NNNNtb", "sets attributes"),
        (b"cos\nmkdir\nX\1\0\0\0a\x85R", "holds os.mkdir"),
        (b"h\7", "damaged"),
        (b"R", "damaged"),
        (b"\x8f", "another kind"),
        (b"}" * 1_000, "another kind"),
    ],
    ids=range(13),
)
def test_hostile_pickles_are_refused(
    tmp_path: Path, write: Any, body: bytes, said: str, little_memory: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("srgan_lightning.utils.pickle_scan.MAX_OPCODES", 1_000)
    with pytest.raises(ValueError, match=said):
        safe_torch_load(write(tmp_path / "w.pth", body))


@pytest.mark.parametrize("write", WRITERS)
def test_the_same_pickles_load_with_true_sizes(tmp_path: Path, write: Any) -> None:
    """Valid files are accepted, so that the others are refused for their claim only."""
    stored = storage(4, legacy=write is write_legacy)
    assert torch.equal(safe_torch_load(write(tmp_path / "w.pth", tensor(4, stored))), torch.zeros(4))


@pytest.mark.parametrize("make", [lambda: torch.zeros(3, device="meta"), lambda: torch.ones(3).to_sparse()])
def test_meta_and_sparse_tensors_are_refused(tmp_path: Path, make: Any) -> None:
    path = tiny_checkpoint(tmp_path, tiny_generator())
    content = torch.load(path, weights_only=True)
    content["state_dict"]["generator.tail.bias"] = make()
    torch.save(content, path)
    with pytest.raises(UserError, match=r"tiny\.ckpt cannot be read as a checkpoint: it holds torch\._utils"):
        read_checkpoint(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_what_trainings_save_loads_again(tmp_path: Path, zipped: bool) -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    optimizer = AdamW(network.parameters())
    network(torch.rand(2, 3, 8, 8)).sum().backward()
    optimizer.step()
    schedules = [
        lr_scheduler.MultiStepLR(optimizer, [3, 4]),
        lr_scheduler.SequentialLR(
            optimizer, [lr_scheduler.LinearLR(optimizer), lr_scheduler.CosineAnnealingLR(optimizer, 4)], [2]
        ),
    ]
    whole = torch.arange(12.0).view(3, 4)
    content = {
        "state_dict": network.state_dict(),
        "optimizer_states": [optimizer.state_dict()],
        "lr_schedulers": [schedule.state_dict() for schedule in schedules],
        "tensors": [whole, whole[1:, ::2], torch.nn.Parameter(whole), torch.zeros(0, 3), torch.tensor(1.0)],
        "types": [torch.zeros(2, dtype=kind) for kind in (torch.bfloat16, torch.bool, torch.int64, torch.complex64)],
        "plain": [None, True, -5, 1 << 40, 0.5, "text", (1, 2), {1, 2}, whole.shape, collections.OrderedDict(a=1)],
    }
    content["again"] = content["state_dict"]
    torch.save(content, tmp_path / "w.ckpt", _use_new_zipfile_serialization=zipped)
    loaded = safe_torch_load(tmp_path / "w.ckpt")
    assert loaded["plain"] == content["plain"]
    assert loaded["lr_schedulers"] == content["lr_schedulers"]
    assert loaded["state_dict"] is loaded["again"]
    assert all(torch.equal(a, b) for a, b in zip(loaded["tensors"], content["tensors"], strict=True))  # type: ignore[call-overload]


def test_state_dicts_of_the_first_versions_load(tmp_path: Path) -> None:
    """Python 2 wrote torchvision's files: an OrderedDict made from a list of pairs, and parameters with attributes."""
    old = tensor(4, storage(4, legacy=True)).replace(b"_rebuild_tensor_v2", b"_rebuild_tensor").replace(b"\x89Nt", b"t")
    parameter = b"ctorch.nn.parameter\nParameter\n%s\x85R(\x88\x89ccollections\nOrderedDict\n]\x85Rtb" % old
    body = b"ccollections\nOrderedDict\nq\1]q\2(]q\3(U\1aq\4%see\x85Rq\5" % parameter
    assert list(safe_torch_load(write_legacy(tmp_path / "vgg.pth", body))) == ["a"]
