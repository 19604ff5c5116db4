"""Pictures that are too large for memory or a format are refused by their headers, before any work."""

import io
import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from srgan_lightning.imaging.files import FORMATS, check_writable
from srgan_lightning.inference.colour_matching import match_colours, matching_memory
from srgan_lightning.inference.finishing import Finish
from srgan_lightning.inference.memory_check import check_room, memory_needed
from srgan_lightning.utils.errors import UserError
from srgan_lightning.utils.memory import available_memory
from tests.helpers.generators import tiny_artifact
from tests.helpers.pictures import smooth, upscale

LINUX = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="measures memory by /proc")

LIMITED = """
import pathlib, re, resource, sys
resource.setrlimit(resource.RLIMIT_AS, (6 * 2**30, 6 * 2**30))
from srgan_lightning.upscale import main
code = main(sys.argv[1:])
# Of this program only: ru_maxrss also counts the process that started it.
status = pathlib.Path("/proc/self/status").read_text()
print("peak", 1024 * int(re.search(r"VmHWM:\\s*(\\d+)", status)[1]), file=sys.stderr)
sys.exit(code)
"""

MEASURED = """
import json, pathlib, re, sys
from PIL import Image
from srgan_lightning.imaging.files import read_picture, write_picture
from srgan_lightning.inference.finishing import Finish
from srgan_lightning.inference.upscaling import TiledUpscaler
from srgan_lightning.networks import Generator

def status(name):
    text = pathlib.Path("/proc/self/status").read_text()
    return 1024 * int(re.search(name + r":\\s*(\\d+)", text)[1])

def upscaled(source, target, finish=Finish()):
    upscaler = TiledUpscaler(Generator(1, 0, 4, "bicubic"), 64, finish=finish)
    write_picture(pathlib.Path(target), upscaler.upscale(read_picture(source)))

folder = pathlib.Path(sys.argv[1])
Image.new("RGB", (40, 40)).save(folder / "warm.png")
for suffix in (".png", ".jpg", ".tif", ".webp"):
    upscaled(folder / "warm.png", folder / f"warm_out{suffix}", Finish(match_colours=True))
peaks = {}
for name in ("RGB", "RGBA"):
    for suffix in (".png", ".jpg", ".tif", ".webp", ".png matched"):
        pathlib.Path("/proc/self/clear_refs").write_text("5")  # reset the peak
        before = status("VmRSS")
        finish = Finish(match_colours="matched" in suffix)
        upscaled(folder / f"{name}.png", folder / f"out{suffix.split()[0]}", finish)
        peaks[f"{name} {suffix}"] = status("VmHWM") - before
print(json.dumps(peaks))
"""


def run_script(script: str, *arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", script, *map(str, arguments)]
    # A fixed threshold returns large freed blocks to the system; glibc would raise it to the size of freed blocks.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)


@pytest.mark.slow
@LINUX
def test_a_small_file_of_a_huge_picture_is_refused_with_the_figure(tmp_path: Path) -> None:
    """One result would take 9.3 GB; the run's other files are written."""
    (tmp_path / "in").mkdir()
    Image.new("RGB", (9000, 9000), (9, 99, 199)).save(tmp_path / "in/huge.tif", compression="tiff_deflate")
    smooth().save(tmp_path / "in/small.png")
    assert (tmp_path / "in/huge.tif").stat().st_size < 2 * 10**6
    weights = tiny_artifact(tmp_path, global_skip="bicubic")
    arguments = (tmp_path / "in", "-o", tmp_path / "out", "--weights", weights, "--device", "cpu")
    result = run_script(LIMITED, *arguments)
    assert result.returncode == 1, result.stderr
    assert "Traceback" not in result.stderr
    assert "1 of 2 images written" in result.stdout
    assert "the image and its result of 36000x36000 take 9.3 GB of memory, and " in result.stderr
    assert int(result.stderr.split("peak ")[1]) < 1.5 * 10**9
    assert [path.name for path in (tmp_path / "out").glob("*_x4*")] == ["small_x4.png"]


@pytest.mark.slow
@LINUX
def test_the_figure_bounds_what_is_measured(tmp_path: Path) -> None:
    side = 700
    for mode in ("RGB", "RGBA"):
        smooth(size=(side, side)).convert(mode).save(tmp_path / f"{mode}.png")
    result = run_script(MEASURED, tmp_path)
    assert result.returncode == 0, result.stderr
    for name, peak in json.loads(result.stdout).items():
        mode, suffix, *matched = name.split()
        channels = 3 if suffix == ".jpg" else len(mode)
        matching = matching_memory(side, side, 3, 4) if matched else 0
        figure = memory_needed(side * side, channels, 1, 4, FORMATS[suffix], matching=matching)
        assert peak < figure + 20 * 10**6, (name, peak, figure)  # one tile, and the alpha channel that JPEG lacks
        assert peak > figure / 2, (name, peak, figure)


@pytest.mark.parametrize(
    ("height", "width", "channels", "scale"),
    [(500, 700, 3, 4), (200, 600, 1, 4), (600, 200, 3, 2), (300, 100, 3, 8), (64, 64, 3, 4), (900, 900, 3, 1)],
)
def test_matching_colours_takes_no_more_than_estimated(
    height: int, width: int, channels: int, scale: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lr = np.full((height, width, channels), 100, np.uint8)
    sr = np.full((scale * height, scale * width, channels), 90, np.uint8)
    tracemalloc.start()  # counts numpy's arrays, not PIL's images
    match_colours(sr, lr)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    figure = matching_memory(height, width, channels, scale)
    assert peak < figure < 2.5 * peak
    Image.fromarray(lr.squeeze()).save(tmp_path / "a.png")
    needed = lr.size + sr.size + figure
    monkeypatch.setattr("srgan_lightning.inference.memory_check.available_memory", lambda: needed - 1)
    check_room(tmp_path / "a.png", tmp_path / "b.png", scale)
    with pytest.raises(UserError, match="are available"):
        check_room(tmp_path / "a.png", tmp_path / "b.png", scale, finish=Finish(match_colours=True))


def test_png_is_advised_where_it_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    smooth(size=(100, 50)).save(tmp_path / "a.jpg")
    needed = memory_needed(5000, 3, 1, 4, FORMATS[".jpg"])
    assert needed == 5000 * (3 + 16 * 7)
    assert memory_needed(5000, 3, 1, 4, FORMATS[".png"]) == 5000 * (3 + 16 * 3)
    monkeypatch.setattr("srgan_lightning.inference.memory_check.available_memory", lambda: needed)
    check_room(tmp_path / "a.jpg", tmp_path / "b.jpg", 4)
    monkeypatch.setattr("srgan_lightning.inference.memory_check.available_memory", lambda: needed - 1)
    with pytest.raises(UserError, match=r"400x200.*--format png"):
        check_room(tmp_path / "a.jpg", tmp_path / "b.jpg", 4)
    check_room(tmp_path / "a.jpg", tmp_path / "b.png", 4)
    with pytest.raises(UserError, match="lower --jobs"):
        check_room(tmp_path / "a.jpg", tmp_path / "b.png", 4, share=4)


def test_a_containers_memory_limit_ignores_reclaimable_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "memory.max").write_text("3000\n")
    (tmp_path / "memory.current").write_text("2000\n")
    (tmp_path / "memory.stat").write_text("anon 1500\ninactive_file 400\n")
    monkeypatch.setattr("srgan_lightning.utils.memory.CGROUP_LIMIT", tmp_path / "memory.max")
    assert available_memory() == 3000 - 2000 + 400
    (tmp_path / "memory.max").write_text("max\n")
    assert available_memory() > 10**6


def test_jpeg_has_libjpegs_maximum_size(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("L", (65500, 1)).save(io.BytesIO(), "JPEG")
    with pytest.raises(OSError, match="broken data stream"):
        Image.new("L", (65501, 1)).save(io.BytesIO(), "JPEG")
    check_writable(Path("a.jpg"), 65500, 1)
    for height, width in ((65501, 1), (1, 65535)):
        with pytest.raises(UserError, match="at most 65500 per side"):
            check_writable(Path("a.jpg"), height, width)
    Image.new("L", (16376, 1)).save(tmp_path / "wide.png")
    weights = tiny_artifact(tmp_path, global_skip="bicubic")
    assert upscale(tmp_path / "wide.png", "-o", tmp_path / "a.jpg", "--weights", weights) == 1
    assert "65504x4 pixels; JPEG allows at most" in capsys.readouterr().err
