"""Misspelt options get a suggestion, and --help lists the options."""

import contextlib
import os
import sys
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

from srgan_lightning import check_data, evaluate, make_shards, train
from srgan_lightning.cli.config import config_dir
from srgan_lightning.cli.suggestions import suggest


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["loss.pixle=1"], ["loss.pixle: did you mean loss.pixel?"]),
        (["data=celebaa"], ["data=celebaa: did you mean data=celeba?"]),
        (["data=folder", "data.train_dirr=x"], ["data.train_dirr: did you mean data.train_dir?"]),
        (["batch_size=8"], ["batch_size: did you mean data.batch_size?"]),
        (["losss=pixel"], ["losss: did you mean loss?"]),
        (["~callbacks.progres_bar"], ["callbacks.progres_bar: did you mean callbacks.progress_bar?"]),
        (["-m", "experiment=quickstrt,celeba_blur"], ["experiment=quickstrt: did you mean experiment=quickstart?"]),
        (["model.init_from=a/b.ckpt", "data.crop=64", "loss=pixel", "+new.option=1", "hydra.verbose=true"], []),
        (["loss.pixel=0.1,1", "data=folder,pairs", "scale=3", "=", "[", "qqq=1"], []),
    ],
)
def test_the_nearest_option_is_suggested(arguments: list[str], said: list[str]) -> None:
    assert list(suggest(config_dir(), "train", arguments)) == said


@pytest.mark.slow
def test_the_command_prints_the_suggestion_instead_of_hydras_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    GlobalHydra.instance().clear()
    monkeypatch.setattr(sys, "argv", ["train", "trainer.max_stepz=3"])
    with pytest.raises(SystemExit) as stop:
        train.main()
    assert stop.value.code == 1
    assert capsys.readouterr().err == "trainer.max_stepz: did you mean trainer.max_steps?\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("qqq=1", ["Could not override 'qqq'", "+qqq=1"]),
        ("data=celebaa", ["did you mean data=celeba?", "celeba_native"]),
    ],
)
def test_hydras_error_follows_where_a_suggestion_is_not_enough(
    argument: str, said: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    GlobalHydra.instance().clear()
    monkeypatch.setattr(sys, "argv", ["train", argument])
    with pytest.raises(SystemExit, match="1"):
        train.main()
    told = capsys.readouterr().err
    places = [told.index(words) for words in said]
    assert places == sorted(places)
    assert "HYDRA_FULL_ERROR" not in told
    assert "HYDRA_FULL_ERROR" not in os.environ


@pytest.mark.slow
@pytest.mark.parametrize("command", [train, evaluate, check_data, make_shards])
@pytest.mark.parametrize("flags", [["--help"], ["--cfg", "job"]])
def test_help_and_cfg_name_the_options(
    command: object,
    flags: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    GlobalHydra.instance().clear()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["command", *flags])
    with contextlib.suppress(SystemExit):  # --help ends so
        command.main()  # type: ignore[attr-defined]
    told = capsys.readouterr().out
    assert "scale: 4" in told
    assert "degradation:\n" in told
    if flags == ["--help"]:
        assert command.__name__ in told  # type: ignore[attr-defined]
        assert "data: celeba, celeba_native, celeba_squash, faces, faces_128, folder, pairs, quickstart" in told
    assert not list(tmp_path.iterdir())
