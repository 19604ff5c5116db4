"""The Python API and `upscale` run without POSIX. These tests remove what Windows lacks."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.generators import tiny_artifact
from tests.helpers.pictures import smooth

WITHOUT_POSIX = """
import os, sys
import lightning.pytorch, psutil, torch, torchvision  # before the removal: these support Windows themselves
for name in ("fcntl", "resource", "pwd", "grp"):
    sys.modules[name] = None
for name in ("sysconf", "sched_getaffinity", "mkfifo", "fork"):
    delattr(os, name)
from PIL import Image
from srgan_lightning import load_generator, upscale_image
from srgan_lightning.upscale import main
weights, photo, out = sys.argv[1:]
assert upscale_image(Image.open(photo), weights, device="cpu").size == (92, 68)
sys.exit(main([photo, "-o", out, "--weights", weights, "--device", "cpu"]))
"""


@pytest.mark.slow
def test_upscale_and_the_python_api_need_no_posix(tmp_path: Path) -> None:
    smooth().save(tmp_path / "a.png")
    command = [sys.executable, "-c", WITHOUT_POSIX, str(tiny_artifact(tmp_path)), str(tmp_path / "a.png")]
    result = subprocess.run([*command, str(tmp_path / "out")], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "out/a_x4.png").exists()
