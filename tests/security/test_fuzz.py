"""Damaged and hostile files of every kind are either read or refused with a UserError.

SRGAN_FUZZ_EXAMPLES sets how many inputs each test tries (default 40: seconds; `make faults` tries more).
"""

import contextlib
import io
import json
import os
import shutil
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from srgan_lightning.artifacts.artifact import describe
from srgan_lightning.artifacts.init_from import load_generator_weights
from srgan_lightning.artifacts.load import load_trained
from srgan_lightning.data.celeba import CelebA, partition_lines, read_line, read_partition
from srgan_lightning.data.degradation import Bicubic
from srgan_lightning.data.folder import PairedData
from srgan_lightning.imaging.files import read_picture
from srgan_lightning.imaging.reading import image_size, open_image, to_tensor
from srgan_lightning.networks import Generator
from srgan_lightning.tools.data_check.checkup import check_dataset
from srgan_lightning.tools.data_check.files import Item, check_file
from srgan_lightning.utils.errors import UserError
from tests.conftest import FaultCounts
from tests.helpers.damage import changed, changes, cuts, deep_pngs, images, with_checksums
from tests.helpers.generators import tiny_checkpoint
from tests.helpers.pictures import smooth

pytestmark = pytest.mark.faults

EXAMPLES = int(os.environ.get("SRGAN_FUZZ_EXAMPLES", "40"))
ARGUMENTS = {"channels": 4, "blocks": 0, "scale": 2, "global_skip": "none"}
fuzz = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
tried = Counter[str]()


@pytest.fixture(autouse=True)
def count(fault_counts: FaultCounts) -> Iterator[None]:
    tried.clear()
    yield
    fault_counts(**tried)


def attempt(read: Callable[[], Any]) -> None:
    """Fail the test for any other exception than UserError."""
    tried["inputs"] += 1
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read()
    except UserError:
        tried["refused"] += 1


def read_everywhere(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    attempt(lambda: to_tensor(open_image(path, path.name)))
    attempt(lambda: to_tensor(open_image(io.BytesIO(content), path.name)))
    attempt(lambda: image_size(path))
    attempt(lambda: read_picture(path).stacked())
    attempt(lambda: check_file(Item("train", path.name, lambda: path)))


@fuzz
@given(name=st.sampled_from(sorted(images())), mutations=changes, cut=cuts, mend=st.booleans())
def test_images(tmp_path_factory: Any, name: str, mutations: list[Any], cut: float, mend: bool) -> None:
    content = changed(images()[name], mutations, cut)
    mended = with_checksums(content) if mend and name.endswith(".png") else content
    read_everywhere(tmp_path_factory.getbasetemp() / name, mended)


@fuzz
@given(
    name=st.sampled_from(sorted(deep_pngs())), mutations=changes, cut=cuts, mend=st.sampled_from([True, True, False])
)
def test_deep_pngs(tmp_path_factory: Any, name: str, mutations: list[Any], cut: float, mend: bool) -> None:
    content = changed(deep_pngs()[name], mutations, cut)
    read_everywhere(tmp_path_factory.getbasetemp() / name, with_checksums(content) if mend else content)


numbers = st.one_of(st.integers(-3, 70), st.sampled_from([2**31, 2**32, 2**63, 2**64, 10**9, -(2**63)]), st.floats())
values = st.recursive(
    st.one_of(st.none(), st.booleans(), numbers, st.text(max_size=8), st.just({"_target_": "os.abort"})),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
metadata = st.dictionaries(
    st.sampled_from(["format", "architecture", "arguments", "scale", "scores", "recipe", "data"]),
    st.one_of(st.text(max_size=20), values.map(json.dumps)),
    max_size=4,
)
arguments = st.dictionaries(st.sampled_from([*ARGUMENTS, "hidden"]), values, max_size=2)


@cache
def weights() -> dict[str, torch.Tensor]:
    return Generator(**ARGUMENTS).state_dict()


def load_everywhere(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    attempt(lambda: load_trained(path).generator(torch.rand(1, 3, 3, 3)))
    attempt(lambda: load_generator_weights(Generator(**ARGUMENTS), str(path)))


@fuzz
@given(lies=metadata, others=arguments)
def test_metadata_of_artifacts(tmp_path_factory: Any, lies: dict[str, str], others: dict[str, Any]) -> None:
    told = describe("Generator", ARGUMENTS | others, {}) | lies
    load_everywhere(tmp_path_factory.getbasetemp() / "w.safetensors", save(weights(), told))


@fuzz
@given(
    name=st.sampled_from(sorted(weights())),
    entry=st.fixed_dictionaries(
        {},
        optional={
            "dtype": st.sampled_from(["F64", "F32", "F16", "BF16", "I64", "U8", "BOOL", "F8_E4M3", "C64", "X"])
            | values,
            "shape": st.lists(numbers, max_size=4) | values,
            "data_offsets": st.lists(numbers, min_size=2, max_size=2) | values,
        },
    ),
    about=st.none() | values | metadata,
    length=st.none() | st.sampled_from([0, 1, 7, 2**20, 2**40, 2**63, 2**64 - 1]),
)
def test_headers_of_artifacts(
    tmp_path_factory: Any, name: str, entry: dict[str, Any], about: Any, length: int | None
) -> None:
    content = save(weights(), describe("Generator", ARGUMENTS, {}))
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    header[name] |= entry
    if about is not None:
        header["__metadata__"] = about
    text = json.dumps(header).encode()
    told = (len(text) if length is None else length).to_bytes(8, "little")
    load_everywhere(tmp_path_factory.getbasetemp() / "w.safetensors", told + text + content[8 + size :])


@fuzz
@given(mutations=changes, cut=cuts)
def test_checkpoints(tmp_path_factory: Any, mutations: list[Any], cut: float) -> None:
    folder = tmp_path_factory.getbasetemp()
    if not (folder / "tiny.ckpt").exists():
        tiny_checkpoint(folder, Generator(**ARGUMENTS))
    load_everywhere(folder / "w.ckpt", changed((folder / "tiny.ckpt").read_bytes(), mutations, cut))


names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=12)
lines = st.one_of(
    st.sampled_from(
        ["1.jpg 0", "2.jpg 1", "3.jpg 2", "", "4.jpg 3", "../5.jpg 0", "6.jpg", "1.jpg 1", "7.jpg 0 0", "\ufeff8 0"]
    ),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
)


@fuzz
@given(content=st.lists(lines, max_size=6).map(lambda each: "\n".join(each).encode()) | st.binary(max_size=60))
def test_partition_files(tmp_path_factory: Any, content: bytes) -> None:
    root = tmp_path_factory.getbasetemp() / "celeba"
    (root / "img_align_celeba").mkdir(parents=True, exist_ok=True)
    path = root / "list_eval_partition.txt"
    path.write_bytes(content)
    attempt(lambda: [name for split in ("train", "val", "test") for name in read_partition(path, split)])
    attempt(lambda: CelebA(root, "train", (32, 32), "square").read(0))
    for _, line in partition_lines(path):
        with contextlib.suppress(ValueError):
            name, split = read_line(line)
            assert (root / "img_align_celeba" / name).parent == root / "img_align_celeba"
            assert split in (0, 1, 2)


@fuzz
@given(mutations=changes, cut=cuts)
def test_archives(tmp_path_factory: Any, mutations: list[Any], cut: float) -> None:
    root = tmp_path_factory.getbasetemp() / "packed"
    root.mkdir(exist_ok=True)
    (root / "list_eval_partition.txt").write_text("1.jpg 0\n2.jpg 0\n")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("1.jpg", "2.jpg"):
            archive.writestr(f"img_align_celeba/{name}", images()["progressive.jpg"])
    (root / "img_align_celeba.zip").write_bytes(changed(buffer.getvalue(), mutations, cut))
    attempt(lambda: [CelebA(root, "train", (32, 32), "square").read(index) for index in (0, 1)])


@fuzz
@given(
    hr=st.sets(names | st.sampled_from(["a", "a_HR", "b", "x4", "_LR", "LR"]), max_size=4),
    lr=st.sets(names | st.sampled_from(["a", "ax4", "a_LR", "b_LRBI_x4", "x4", "_LR", "LR"]), max_size=4),
    broken=st.booleans(),
)
def test_pair_folders(tmp_path_factory: Any, hr: set[str], lr: set[str], broken: bool) -> None:
    root = tmp_path_factory.getbasetemp() / "pairs"
    shutil.rmtree(root, ignore_errors=True)
    for kind, chosen, size in (("hr", hr, (32, 24)), ("lr", lr, (8, 6))):
        (root / kind).mkdir(parents=True)
        buffer = io.BytesIO()
        smooth(size=size).save(buffer, "PNG")
        for number, name in enumerate(sorted(chosen)):
            with contextlib.suppress(OSError):  # names that are too long for the file system
                content = buffer.getvalue()
                (root / kind / f"{name}.png").write_bytes(content[:50] if broken and number == 1 else content)
    data = PairedData(*(str(root / "hr"), str(root / "lr")) * 2, degradation=Bicubic(4), crop=16, batch_size=1)
    attempt(lambda: [data.source("train").read_lr(index) for index in range(len(data.source("train")))])
    attempt(lambda: check_dataset(data, 1, lambda done, all_: None))


def test_the_inputs_without_damage_are_read(tmp_path: Path) -> None:
    """Otherwise, the fuzzing would reach only the first check."""
    for name, content in {**images(), **deep_pngs()}.items():
        (tmp_path / name).write_bytes(with_checksums(content) if name.endswith(".png") else content)
        assert to_tensor(open_image(tmp_path / name, name)).shape[0] == 3
        if name != "float.tif":
            assert read_picture(tmp_path / name).colour.size
