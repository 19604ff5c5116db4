"""`python -m srgan_lightning.demo` without a browser: attacks, wrong requests, and load."""

import io
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from srgan_lightning.demo import main
from tests.helpers.pictures import header_bomb, smooth
from tests.helpers.visitor import Site, Visitor, as_file

httpx = pytest.importorskip("httpx", reason="needs the extra demo")
pytest.importorskip("gradio", reason="needs the extra demo")

pytestmark = pytest.mark.slow
GROWTH = 64 * 2**20  # allowed growth of the server's memory over 50 requests


def test_files_of_the_server_and_of_the_web_stay_out_of_reach(site: Site) -> None:
    visitor = Visitor(site)
    secret = site.folder / "truth.png"  # in the working directory, and an image that could be upscaled
    for path in (secret, "truth.png", "./truth.png", "/etc/passwd", Path(__file__), "http://example.org/", site.folder):
        assert visitor.http.get(f"file={path}").status_code == 403, path
    photo = visitor.upload(site.folder / "photo.png")
    assert visitor.http.get(f"file={photo['path']}").status_code == 200
    up = f"{Path(photo['path']).parent}/../../../{secret.relative_to('/')}"
    for path in (str(secret), "truth.png", up, "http://example.org/a.png"):
        assert "192x128" not in visitor.refused(as_file(path))
        assert "192x128" not in visitor.refused(photo, truth=as_file(path))
    visitor.refused(photo, weights=str(site.folder / "deeper.safetensors"))  # a path instead of a listed name
    visitor.refused(photo, own=as_file(str(site.folder / "deeper.safetensors")))
    assert visitor.order(photo)[0] == "complete"


def test_limits_and_mistakes_are_reported(site: Site) -> None:
    visitor, folder = Visitor(site), site.folder
    photo = visitor.upload(folder / "photo.png")
    (folder / "heavy.png").write_bytes(bytes(8_000_001))
    with pytest.raises(httpx.HTTPStatusError, match="413"):
        visitor.upload(folder / "heavy.png")
    (folder / "bomb.png").write_bytes(header_bomb())
    Image.new("L", (2001, 1000)).save(folder / "wide.png")
    assert "decompression bomb" in visitor.refused(visitor.upload(folder / "bomb.png"))
    wide = visitor.refused(visitor.upload(folder / "wide.png"))
    assert "2001x1000 pixels, more than the 2,000,000 allowed" in wide
    assert "python -m srgan_lightning.upscale PHOTO -o RESULTS" in wide
    Image.new("L", (8001, 4000)).save(folder / "vast.png")
    assert "more than the 32,000,000" in visitor.refused(photo, truth=visitor.upload(folder / "vast.png"))
    assert "192x128 are needed, 4 times the photo's 48x32" in visitor.refused(photo, truth=photo)
    (folder / "run.ckpt").write_bytes(b"")
    assert "Invalid file type" in visitor.refused(photo, own=visitor.upload(folder / "run.ckpt"))  # no pickles
    shutil.copy(folder / "photo.png", folder / "fake.safetensors")
    assert "is not a complete safetensors file" in visitor.refused(
        photo, own=visitor.upload(folder / "fake.safetensors")
    )
    (folder / "code.pth").write_bytes(b"cos\nmkdir\n(Vtouched\ntR.")
    said = visitor.refused(photo, own=visitor.upload(folder / "code.pth"))
    assert said.startswith("code.pth cannot be read as tensors by name")
    for outscale in ("abc", [], {}, 10**400, "NaN", -2, 64.5):
        assert "outscale" in visitor.refused(photo, outscale=outscale), outscale
    for chosen in ({"weights": None}, {"weights": ["srresnet.safetensors"]}, {"second": None}):
        assert "No weights are chosen" in visitor.refused(photo, **chosen)
    visitor.refused(photo, precision="16")  # not a listed name
    assert not (folder / "touched").exists()
    html = folder / "<b>bold.png"
    shutil.copy(folder / "broken.png", html)
    told = visitor.refused(visitor.upload(html))
    assert "<b>" not in told
    assert str(site.folder) not in told
    assert "/tmp" not in told


def test_fifty_requests_of_ten_visitors(site: Site) -> None:
    """No request is lost, each gets its own result, and memory does not grow."""
    sizes = [(24 + 2 * index, 16) for index in range(10)]
    for width, height in sizes:
        smooth(size=(width, height)).save(site.folder / f"load{width}.png")

    def visit(width: int) -> list[tuple[int, int]]:
        visitor, got = Visitor(site), []
        for _ in range(5):
            kind, content = visitor.order(visitor.upload(site.folder / f"load{width}.png"))
            assert kind == "complete"
            png = visitor.http.get(f"file={content[2]['value']['path']}").raise_for_status().content
            got.append(Image.open(io.BytesIO(png)).size)
        return got

    visit(sizes[0][0])  # load everything that is loaded only once
    before = resident(site.pid)
    with ThreadPoolExecutor(10) as pool:
        results = list(pool.map(visit, [width for width, _ in sizes]))
    assert results == [[(4 * width, 4 * height)] * 5 for width, height in sizes]
    assert resident(site.pid) - before < GROWTH


def resident(pid: int) -> int:
    """Return the resident memory of a process in bytes."""
    status = Path(f"/proc/{pid}/status")
    if not status.is_file():
        pytest.skip("needs /proc")
    return 1024 * int(re.findall(r"VmRSS:\s+(\d+) kB", status.read_text())[0])


def test_mistakes_of_the_command_line(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["--weights", str(tmp_path / "none")]) == 1
    assert "no such file" in capsys.readouterr().err
    for name in ("GRADIO_TEMP_DIR", "GRADIO_EXAMPLES_CACHE"):
        monkeypatch.setenv(name, "")  # put back afterwards
    port = site.url.rsplit(":", 1)[1].strip("/")
    assert main(["--device", "cpu", "--port", port]) == 1
    said = capsys.readouterr().err.strip()
    assert said == f"Port {port} of 127.0.0.1 is unavailable (it is in use): use another with --port."
    assert "\n" not in said
    with pytest.raises(SystemExit, match="2"):
        main(["--max-megapixels", "0"])
