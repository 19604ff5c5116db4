"""Make the picture of the web page: python docs/make_web_page.py PHOTO -o docs/web-page.jpg

Starts the demo, upscales the photo in Chromium, and takes a screenshot. Needs the extra `dev` and Chromium.
"""

import argparse
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

PORT = "7869"
WIDTH, HEIGHT = 1100, 760


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photo", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    server = subprocess.Popen(
        [sys.executable, "-m", "srgan_lightning.demo", "--port", PORT],
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        server.stdout.readline()  # printed when the page can be reached
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
            page.goto(f"http://127.0.0.1:{PORT}/")
            page.locator("#photo input[type=file]").set_input_files(options.photo)
            page.locator("#photo img").wait_for()
            page.get_by_role("button", name="Upscale", exact=True).click()
            page.locator("#result img").first.wait_for(timeout=120_000)
            page.wait_for_timeout(2000)  # until the slider is drawn
            png = page.screenshot()
            browser.close()
    finally:
        server.terminate()
        server.wait()
    Image.open(io.BytesIO(png)).convert("RGB").save(options.output, quality=85)


if __name__ == "__main__":
    main()
