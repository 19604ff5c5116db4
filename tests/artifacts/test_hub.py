"""The Hub's folder layout, offline."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig

from srgan_lightning.artifacts.artifact import read_artifact
from srgan_lightning.artifacts.load import load_generator
from srgan_lightning.artifacts.model_card import UNKNOWN_LICENCE, model_card
from srgan_lightning.networks import Generator
from srgan_lightning.training.results import describe_data
from srgan_lightning.utils.errors import UserError
from tests.helpers.generators import ABOUT, tiny_artifact, tiny_checkpoint, tiny_generator

huggingface_hub = pytest.importorskip("huggingface_hub")


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("a local folder needs no network"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Save a tiny generator with the bicubic skip by `save_pretrained`."""
    from srgan_lightning.artifacts.hub import HubGenerator

    HubGenerator.from_weights(tiny_artifact(tmp_path, global_skip="bicubic")).save_pretrained(tmp_path / "folder")
    return tmp_path / "folder"


def test_a_folder_comes_back_as_the_same_generator(tmp_path: Path, folder: Path) -> None:
    from srgan_lightning.artifacts.hub import HubGenerator

    assert {path.name for path in folder.iterdir()} == {"config.json", "model.safetensors", "README.md"}
    arguments = {"channels": 8, "blocks": 2, "scale": 4, "global_skip": "bicubic"}
    assert json.loads((folder / "config.json").read_text()) == arguments
    generator, original = HubGenerator.from_pretrained(folder), load_generator(tmp_path / "tiny.safetensors")
    lr = torch.rand(1, 3, 7, 9)
    with torch.no_grad():
        assert torch.equal(generator(lr), original(lr))
        assert torch.equal(load_generator(folder / "model.safetensors")(lr), original(lr))  # it is an artifact too
    assert not generator.training
    generator.save_pretrained(tmp_path / "again")  # metadata survive saving and loading
    assert read_artifact(tmp_path / "again/model.safetensors")[1] == read_artifact(tmp_path / "tiny.safetensors")[1]


def test_any_mixin_class_reads_the_folder(folder: Path) -> None:
    class Plain(Generator, huggingface_hub.PyTorchModelHubMixin):  # type: ignore[misc, name-defined]
        pass

    lr = torch.rand(1, 3, 5, 5)
    with torch.no_grad():
        assert torch.equal(Plain.from_pretrained(folder)(lr), load_generator(folder / "model.safetensors")(lr))


def test_a_checkpoint_and_a_new_network_can_be_saved(tmp_path: Path) -> None:
    from srgan_lightning.artifacts.hub import HubGenerator

    HubGenerator.from_weights(tiny_checkpoint(tmp_path, tiny_generator(scale=2))).save_pretrained(tmp_path / "a")
    assert HubGenerator.from_pretrained(tmp_path / "a").scale == 2
    HubGenerator(4, blocks=0).save_pretrained(tmp_path / "b")
    assert HubGenerator.from_pretrained(tmp_path / "b").arguments["channels"] == 4
    assert "Not recorded." in (tmp_path / "b/README.md").read_text()


def test_a_folder_that_contradicts_itself_is_refused(folder: Path) -> None:
    from srgan_lightning.artifacts.hub import HubGenerator

    config = json.loads((folder / "config.json").read_text()) | {"global_skip": "none"}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"but its config\.json has"):
        HubGenerator.from_pretrained(folder)


def test_the_card_lists_recipe_data_scores_licence_and_limits(folder: Path) -> None:
    card = huggingface_hub.ModelCard.load(folder / "README.md")
    assert card.data.library_name == "srgan-lightning"
    for said in (
        "- loss: pixel 1.0, adversarial 0.001",
        "- set: SyntheticData",
        "drawn by the program",
        "| psnr_y | 30.12 | 28.50 |",
        "- border: 4 pixels",
        "- global_skip: bicubic",
        "Do not use it to identify people",
    ):
        assert said in card.text


@pytest.mark.parametrize(
    ("data", "licence"),
    [
        ({"set": "CelebAData"}, "non-commercial research only"),
        ({"set": "FolderData"}, UNKNOWN_LICENCE),
        ({"set": "FolderData", "licence": "public domain"}, "Licence of the data: public domain"),
        ("400 photos", UNKNOWN_LICENCE),
    ],
)
def test_the_card_names_the_licence_of_the_data(data: object, licence: str) -> None:
    card = model_card({"scale": 4}, ABOUT | {"data": data})
    assert licence in card
    assert "- licence" not in card


@pytest.mark.parametrize("data", ["pairs", "synthetic"])
def test_the_card_says_where_lr_came_from(data: str, configure: Callable[..., DictConfig]) -> None:
    cfg = configure(f"data={data}", "degradation=mixed")
    described = describe_data(cfg, instantiate(cfg.data, degradation=instantiate(cfg.degradation)))
    card = model_card({"scale": 4}, ABOUT | {"data": described})
    paired = data == "pairs"
    assert ("- lr: files" in card) == ("with low resolution read from files" in card) == paired
    assert ("degradation: Blur" in card) == ("made by the degradation above" in card) == (not paired)


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize(
    "config",
    [
        '{"channels": 2048, "blocks": 512, "scale": 4, "global_skip": "bicubic"}',
        '{"channels": 10000000000000000000000, "blocks": 2}',
        '{"channels": "8"}',
        '{"scale": null}',
        '{"scale": NaN}',
        "[]",
        "null",
        '"text"',
        "{",
        "",
        "[" * 100_000,
        "1" * 5000,
        b"\xff\xfe\x00",
        b" " * 2_000_000,
    ],
    ids=range(14),
)
def test_config_json_is_not_trusted(folder: Path, config: str | bytes) -> None:
    from srgan_lightning.artifacts.hub import HubGenerator

    (folder / "config.json").write_bytes(config if isinstance(config, bytes) else config.encode())
    start = time.process_time()
    with pytest.raises(UserError, match=r"config\.json") as caught:
        HubGenerator.from_pretrained(folder)
    assert time.process_time() - start < 3  # once, building the first network took 37 s and 8 GB
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("become", [str, Path.mkdir, os.mkfifo, Path.touch], ids=["none", "folder", "pipe", "empty"])
def test_hub_folders_with_missing_or_irregular_files_are_refused(folder: Path, name: str, become: Any) -> None:
    from srgan_lightning.artifacts.hub import HubGenerator

    (folder / name).unlink()
    become(folder / name)
    with pytest.raises(UserError, match=name):
        HubGenerator.from_pretrained(folder)


def test_a_missing_folder_raises_user_error() -> None:
    from srgan_lightning.artifacts.hub import HubGenerator

    with pytest.raises(UserError, match="is not a folder"):
        HubGenerator.from_pretrained("no/such/folder")


def test_a_card_shows_metadata_as_text() -> None:
    hostile = "<script>alert(1)</script> [x](javascript:y) ![p](//t) `c` **b** | col\n\n# Title\n---\n<!-- $x$"
    about = {key: {hostile: hostile, "nested": {hostile: hostile}} for key in ("recipe", "training", "protocol")}
    about |= {"data": {"set": hostile, "licence": hostile}, "version": hostile}
    scores = ABOUT["scores"] | {"bicubic_psnr_y": hostile}
    for card in (
        model_card({"scale": 4, "global_skip": hostile}, {**about, "scores": scores}),
        model_card({"scale": 4}, {**about, "scores": {**scores, "psnr_y": hostile}}),
        model_card({"scale": 4}, {**about, "scores": hostile, "data": hostile, "recipe": f"# {hostile}"}),
        model_card({"scale": 4}, {"scores": [hostile], "data": [hostile], "recipe": 3, "training": 2.5}),
    ):
        body = huggingface_hub.ModelCard(card).text
        assert "<" not in body
        assert "](" not in body.replace("\\](", "")
        assert "\\|" in body or "| col" not in body
        assert [line for line in body.splitlines() if line.startswith("#")] == [
            "# SRGAN generator, x4",
            *(f"## {title}" for title in ("Architecture", "Training recipe", "Data", "Scores", "Limits")),
        ]


@pytest.mark.parametrize(
    ("metadata", "title", "named"),
    [
        ({}, "# SRGAN generator, x4", "the generator of SRGAN"),
        ({"architecture": "SpandrelGenerator"}, "# SwinIR, x4", "of the architecture SwinIR, as implemented in"),
        ({"architecture": "mine.MyNet"}, "# MyNet, x4", "of the class mine.MyNet, which needs `--architecture`"),
        ({"architecture": "a.<b>\n# c|`d`"}, r"# &lt;b&gt; # c\|\`d\`, x4", r"of the class a.&lt;b&gt; # c\|\`d\`,"),
    ],
)
def test_the_card_names_the_network(metadata: dict[str, str], title: str, named: str) -> None:
    card = huggingface_hub.ModelCard(model_card({"architecture": "SwinIR", "scale": 4}, ABOUT | metadata))
    assert card.text.strip().splitlines()[0] == title
    assert named in card.text
    papers = "architecture" not in metadata
    assert ("HubGenerator" in card.text, "srgan" in card.data.tags) == (papers, papers)
    assert card.data.eval_results[0].metric_value == 30.125


@pytest.mark.parametrize(
    ("data", "licence", "datasets"),
    [
        ({"set": "CelebAData"}, "other", ["celeba"]),
        ({"set": "FolderData", "licence": "public domain"}, "other", None),
        ({"set": "FolderData"}, "unknown", None),
    ],
)
def test_the_hub_reads_licence_data_and_scores(data: dict[str, str], licence: str, datasets: list[str] | None) -> None:
    card = huggingface_hub.ModelCard(model_card({"scale": 4}, ABOUT | {"data": data}))
    assert card.data.license == licence
    assert card.data.datasets == datasets
    scores = {result.metric_name: (result.metric_type, result.metric_value) for result in card.data.eval_results}
    assert scores["psnr_y"] == ("psnr", 30.125)
    assert scores["ssim_rgb"] == ("ssim", 0.8)
    assert card.data.to_dict()["model-index"][0]["results"][0]["task"]["type"] == card.data.pipeline_tag
    assert huggingface_hub.ModelCard(model_card({"scale": 4}, {})).data.eval_results is None
