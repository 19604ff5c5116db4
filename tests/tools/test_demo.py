"""`python -m srgan_lightning.demo`: in a real browser, attacked, and under load. One server serves all."""

import io
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image

from srgan_lightning import load_generator, upscale_image
from srgan_lightning.artifacts.artifact import save_artifact
from srgan_lightning.demo import main
from srgan_lightning.imaging.picture import from_pil
from srgan_lightning.inference.blending import blend
from srgan_lightning.inference.upscaling import TiledUpscaler
from srgan_lightning.metrics.psnr_ssim import psnr_ssim
from srgan_lightning.tools.web.examples import EXAMPLES, write_example
from srgan_lightning.utils.errors import UserError
from tests.helpers.generators import ABOUT, tiny_generator
from tests.helpers.pictures import header_bomb, smooth

httpx = pytest.importorskip("httpx", reason="needs the extra demo")
pytest.importorskip("gradio", reason="needs the extra demo")

pytestmark = pytest.mark.slow
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
QUIET += ("--disable-sync", "--no-first-run", "--disable-quic")
GROWTH = 64 * 2**20  # bytes that the server may grow by over 50 requests


class Site(NamedTuple):
    url: str
    folder: Path  # photos and weights of the tests; the server's working directory
    pid: int


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    for seed, (name, blocks) in enumerate([("srresnet", 2), ("srgan", 2), ("deeper", 3)]):
        torch.manual_seed(seed)
        generator = tiny_generator(blocks, global_skip="bicubic")
        generator.tail.weight.data *= 0.2
        save_artifact(folder / f"{name}.safetensors", generator, ABOUT)
    smooth(size=(48, 32)).save(folder / "photo.png")
    smooth(size=(192, 128)).save(folder / "truth.png")
    (folder / "broken.png").write_bytes((folder / "truth.png").read_bytes()[:500])
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    command = [sys.executable, "-m", "srgan_lightning.demo", "--device", "cpu", "--port", port]
    command += ["--max-megapixels", "2", "--max-megabytes", "8"]
    command += ["--weights", "srresnet.safetensors", "srgan.safetensors", "deeper.safetensors"]
    (folder / "tmp").mkdir()
    env = {**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(folder / "tmp")}
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=log, text=True)
    stuck = threading.Timer(240, server.kill)
    stuck.start()
    try:
        assert server.stdout is not None
        said = server.stdout.readline()
        stuck.cancel()
        assert f"http://127.0.0.1:{port}" in said, (folder / "log").read_text()
        yield Site(f"http://127.0.0.1:{port}/", folder, server.pid)
        server.send_signal(signal.SIGINT)
        assert server.wait(30) == 0
        assert not list((folder / "tmp").glob("srgan-demo-*"))  # uploads and results are gone
    finally:
        server.kill()
        server.wait()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    if CHROMIUM is None:
        pytest.skip("needs an installed Chromium")
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield chromium
        chromium.close()


@pytest.fixture
def page(site: Site, browser: Any) -> Iterator[Any]:
    """The page as a visitor sees it; everything that it loads must come from the server itself."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(site.url)
    page.get_by_role("button", name="Upscale").wait_for()
    yield page
    page.close()
    assert all(url.startswith((site.url, "blob:", "data:")) for url in asked), asked


def put(page: Any, field: str, file: Path) -> None:
    """Upload a file into a field, and wait until the page has it."""
    with page.expect_response(re.compile("/upload")):
        page.locator(f"#{field} input[type=file]").set_input_files(file)
    page.locator(f"#{field} :is(img, .file-preview)").first.wait_for(state="attached")


def click(page: Any) -> None:
    page.get_by_role("button", name="Upscale").click()


def download(page: Any, name: str) -> Image.Image:
    with page.expect_download() as waiting:
        page.get_by_text("Download PNG").click()
    assert waiting.value.suggested_filename == name
    return Image.open(waiting.value.path())


def same(one: Image.Image, other: Image.Image) -> bool:
    return one.mode == other.mode and np.array_equal(np.asarray(one), np.asarray(other))


def test_a_photo_is_upscaled_compared_zoomed_and_downloaded(page: Any, site: Site) -> None:
    put(page, "photo", site.folder / "photo.png")
    click(page)
    images = page.get_by_test_id("imageslider-image")
    images.nth(1).wait_for()
    for image in (images.nth(0), images.nth(1)):
        page.wait_for_function("image => image.naturalWidth == 192", arg=image.element_handle())
    page.get_by_text("48x32 to 192x128 pixels with srresnet").wait_for()

    handle = page.locator("#result").get_by_test_id("slider").locator("span").first
    before, frame = handle.bounding_box(), page.locator("#result").bounding_box()
    page.mouse.move(before["x"] + before["width"] / 2, before["y"] + before["height"] / 2)
    page.mouse.down()
    page.mouse.move(frame["x"] + 0.8 * frame["width"], before["y"], steps=4)
    page.mouse.up()
    assert handle.bounding_box()["x"] > before["x"] + 0.2 * frame["width"]

    width = images.nth(1).bounding_box()["width"]
    page.mouse.move(frame["x"] + 0.3 * frame["width"], frame["y"] + frame["height"] / 2)
    page.mouse.wheel(0, -400)
    page.wait_for_function(
        "([image, width]) => image.getBoundingClientRect().width > width", arg=[images.nth(1).element_handle(), width]
    )

    expected = upscale_image(smooth(size=(48, 32)), site.folder / "srresnet.safetensors", device="cpu")
    assert same(download(page, "photo_x4.png"), expected)


@pytest.mark.parametrize("kind", EXAMPLES)
def test_an_example_on_a_phone(page: Any, site: Site, kind: str) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.get_by_role("button", name=kind).click()
    page.locator("#photo img").wait_for()
    click(page)
    page.get_by_text("96x96 to 384x384 pixels with srresnet").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390  # nothing to scroll sideways for
    for button in page.get_by_role("button").all():
        box = button.bounding_box()
        assert box is None or (box["x"] >= 0 and box["x"] + box["width"] <= 390), button.inner_text()
    page.wait_for_function("scrollY > 300")  # to the result, which is below all options
    frame = page.locator("#result").bounding_box()
    assert frame["width"] > 300
    assert 0 <= frame["y"] < 400


def test_examples_are_three_kinds_of_photo(tmp_path: Path) -> None:
    sharp, blurred, jpeg = (write_example(kind, tmp_path) for kind in EXAMPLES)
    for file, kind in ((sharp, "PNG"), (blurred, "PNG"), (jpeg, "JPEG")):
        with Image.open(file) as image:
            assert (image.size, image.format) == ((96, 96), kind)
    edges = [np.abs(np.diff(np.asarray(Image.open(file).convert("L"), float))).mean() for file in (sharp, blurred)]
    assert edges[1] < 0.8 * edges[0]


def test_two_models_are_blended_and_scored(page: Any, site: Site) -> None:
    put(page, "photo", site.folder / "photo.png")
    page.get_by_text("Blend with a second model").click()
    page.get_by_role("combobox", name="Second").click()
    page.get_by_role("option", name="srgan.safetensors").click()
    page.get_by_label("number input for Share of the second").fill("0.25")
    page.get_by_text("Score against the original").click()
    put(page, "truth", site.folder / "truth.png")
    click(page)
    page.get_by_text("with 75% srresnet, 25% srgan").wait_for()

    first, second = (load_generator(site.folder / f"{name}.safetensors") for name in ("srresnet", "srgan"))
    expected = upscale_image(smooth(size=(48, 32)), blend(first, second, 0.25), device="cpu")
    assert same(download(page, "photo_x4.png"), expected)
    sr, hr = (
        torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 255 for image in (expected, smooth(size=(192, 128)))
    )
    psnr, ssim = psnr_ssim(sr, hr, 4)[0, :2].tolist()
    assert page.get_by_role("cell", name=f"{psnr:.2f} dB").count() == 1
    assert page.get_by_role("cell", name=f"{ssim:.4f}").count() == 1

    page.get_by_role("combobox", name="Second").click()
    page.get_by_role("option", name="deeper.safetensors").click()
    click(page)
    page.get_by_text("cannot be blended, because their architectures differ: blocks is 2 and 3").wait_for()


def test_a_bad_file_is_told_and_the_page_goes_on(page: Any, site: Site) -> None:
    click(page)
    page.get_by_text("There is no photo yet").wait_for()
    put(page, "photo", site.folder / "broken.png")
    click(page)
    page.get_by_text("The photo broken.png: it cannot be read as an image").wait_for()
    page.get_by_text("Weights of your own").click()
    page.get_by_label("Remove Image").click()
    put(page, "photo", site.folder / "photo.png")
    put(page, "own", site.folder / "deeper.safetensors")
    click(page)
    page.get_by_text("48x32 to 192x128 pixels with deeper").wait_for()


def test_long_work_can_be_stopped(page: Any, site: Site) -> None:
    smooth(size=(1500, 1000)).save(site.folder / "large.png")
    put(page, "photo", site.folder / "large.png")
    click(page)
    page.get_by_text(re.compile(r"Upscaling - [1-9]")).wait_for(timeout=60_000)
    page.get_by_role("button", name="Stop").click()
    page.get_by_text(re.compile("Upscaling - ")).wait_for(state="detached")
    visitor = Visitor(site)
    assert visitor.order(visitor.upload(site.folder / "photo.png"))[0] == "complete"  # its place is free again
    assert page.get_by_test_id("imageslider-image").count() == 0


class Visitor:
    """Asks what the page asks, without a browser."""

    def __init__(self, site: Site) -> None:
        self.site, self.http = site, httpx.Client(base_url=f"{site.url}gradio_api/", timeout=120)

    def upload(self, file: Path) -> Any:
        answer = self.http.post("upload", files={"files": (file.name, file.read_bytes())})
        answer.raise_for_status()
        return as_file(answer.json()[0])

    def order(self, photo: Any, **changes: Any) -> tuple[str, Any]:
        """The last event that an order gives, `complete` or `error`, and its data."""
        values = {"weights": "srresnet.safetensors", "second": "none", "amount": 0.5, "own": None, "truth": None}
        data = [photo, *(values | changes).values()]
        visitor = secrets.token_hex(8)
        order = {"data": data, "fn_index": 0, "session_hash": visitor}
        self.http.post("queue/join", json=order).raise_for_status()
        return self.result(visitor)

    def result(self, visitor: str) -> tuple[str, Any]:
        with self.http.stream("GET", "queue/data", params={"session_hash": visitor}) as lines:
            events = [json.loads(line.removeprefix("data: ")) for line in lines.iter_lines() if line]
        (last,) = [event for event in events if event["msg"] == "process_completed"]
        return ("complete", last["output"]["data"]) if last["success"] else ("error", last["output"]["error"])

    def refused(self, photo: Any, **changes: Any) -> str:
        kind, content = self.order(photo, **changes)
        assert kind == "error"
        return str(content)


def as_file(path: str) -> dict[str, Any]:
    """A file of the server's in the words of Gradio."""
    return {"path": path, "meta": {"_type": "gradio.FileData"}}


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
    visitor.refused(photo, weights=str(site.folder / "deeper.safetensors"))  # a path, not one of the names
    visitor.refused(photo, own=as_file(str(site.folder / "deeper.safetensors")))
    assert visitor.order(photo)[0] == "complete"


def test_limits_and_mistakes_are_told(site: Site) -> None:
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
    html = folder / "<b>bold.png"
    shutil.copy(folder / "broken.png", html)
    told = visitor.refused(visitor.upload(html))
    assert "<b>" not in told
    assert str(site.folder) not in told
    assert "/tmp" not in told


def test_fifty_orders_of_ten_visitors(site: Site) -> None:
    """None is lost, each gets its own result, and memory stays what it was."""
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

    visit(sizes[0][0])  # what is loaded once
    before = resident(site.pid)
    with ThreadPoolExecutor(10) as pool:
        results = list(pool.map(visit, [width for width, _ in sizes]))
    assert results == [[(4 * width, 4 * height)] * 5 for width, height in sizes]
    assert resident(site.pid) - before < GROWTH


def resident(pid: int) -> int:
    """Bytes of memory that a process holds."""
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
    assert said == f"Port {port} of 127.0.0.1 is unavailable (it is taken): choose another with --port."
    assert "\n" not in said
    with pytest.raises(SystemExit, match="2"):
        main(["--max-megapixels", "0"])


def test_blend_interpolates_everything() -> None:
    first, second = tiny_generator(), tiny_generator()
    before = {name: tensor.clone() for name, tensor in first.state_dict().items()}
    blended = blend(first, second, 0.25).state_dict()
    others = second.state_dict()
    assert any(name.endswith("running_var") for name in blended)
    for name, tensor in before.items():
        if tensor.is_floating_point():
            torch.testing.assert_close(blended[name], 0.75 * tensor + 0.25 * others[name])
        assert torch.equal(first.state_dict()[name], tensor)
    lr = torch.rand(1, 3, 8, 8)
    for amount, end in ((0, first), (1, second)):
        assert torch.equal(blend(first, second, amount)(lr), end(lr))


def test_blend_refuses() -> None:
    with pytest.raises(UserError, match="blocks is 2 and 3, scale is 4 and 2"):
        blend(tiny_generator(2), tiny_generator(3, scale=2), 0.5)
    with pytest.raises(UserError, match=r"amount=1\.5"):
        blend(tiny_generator(), tiny_generator(), 1.5)


def test_upscaling_in_steps_can_be_left() -> None:
    upscaler, picture = TiledUpscaler(tiny_generator(), tile=16), from_pil(smooth(size=(40, 30)))
    steps = list(upscaler.iter_upscale(picture))
    assert steps == [pytest.approx(done / 6) for done in range(1, 7)]
    some = upscaler.iter_upscale(picture)
    assert next(some) == steps[0]
    some.close()
    assert not torch.is_inference_mode_enabled()
