"""`python -m srgan_lightning.demo` in a real browser."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from srgan_lightning import load_generator, upscale_image
from srgan_lightning.inference.blending import blend
from srgan_lightning.metrics.psnr_ssim import psnr_ssim
from srgan_lightning.tools.web.examples import EXAMPLES
from tests.helpers.pictures import smooth
from tests.helpers.visitor import Site, Visitor

pytest.importorskip("gradio", reason="needs the extra demo")

pytestmark = pytest.mark.slow
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
QUIET += ("--disable-sync", "--no-first-run", "--disable-quic")


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
    """Open the page like a visitor; fail if it loads anything from another server."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(site.url)
    page.get_by_role("button", name="Upscale").wait_for()
    yield page
    page.close()
    assert all(url.startswith((site.url, "blob:", "data:")) for url in asked), asked


def put(page: Any, field: str, file: Path) -> None:
    """Upload a file into a field, and wait until the page shows it."""
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
    assert len({page.get_by_role("button", name=name).bounding_box()["y"] for name in EXAMPLES}) == 1  # in one line
    weights = page.get_by_role("combobox", name="Weights")
    assert weights.evaluate("field => getComputedStyle(field).textOverflow") == "ellipsis"  # not under the arrow
    page.get_by_role("button", name=kind).click()
    page.locator("#photo img").wait_for()
    click(page)
    page.get_by_text("96x96 to 384x384 pixels with srresnet").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390  # no horizontal scrolling
    for button in page.get_by_role("button").all():
        box = button.bounding_box()
        assert box is None or (box["x"] >= 0 and box["x"] + box["width"] <= 390), button.inner_text()
    page.wait_for_function("scrollY > 300")  # to the result, which is below all options
    frame = page.locator("#result").bounding_box()
    assert frame["width"] > 300
    assert 0 <= frame["y"] < 400


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


def test_size_and_precision_are_chosen(page: Any, site: Site) -> None:
    put(page, "photo", site.folder / "photo.png")
    page.get_by_text("Size and precision").click()
    click(page)
    page.get_by_text("48x32 to 192x128 pixels with srresnet").wait_for()  # 0 is the network's own scale
    page.get_by_label("Outscale").fill("2.5")
    page.get_by_label("bf16", exact=True).click()
    click(page)
    page.get_by_text("48x32 to 120x80 pixels with srresnet").wait_for()
    options: dict[str, Any] = {"device": "cpu", "outscale": 2.5, "precision": "bf16"}
    expected = upscale_image(smooth(size=(48, 32)), site.folder / "srresnet.safetensors", **options)
    assert same(download(page, "photo_x2.5.png"), expected)
    page.get_by_role("combobox", name="Weights").click()
    page.get_by_role("option", name="srgan-faces-x4: crisp; any photo").wait_for()


def test_a_bad_file_is_reported_and_the_page_keeps_working(page: Any, site: Site) -> None:
    click(page)
    page.get_by_text("There is no photo yet").wait_for()
    put(page, "photo", site.folder / "broken.png")
    click(page)
    page.get_by_text("The photo broken.png: it cannot be read as an image").wait_for()
    page.get_by_text("Your own weights").click()
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
    assert visitor.order(visitor.upload(site.folder / "photo.png"))[0] == "complete"  # its slot is free again
    assert page.get_by_test_id("imageslider-image").count() == 0
