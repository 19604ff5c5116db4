"""The web page as a Hugging Face Space: a folder with this file, README.md and requirements.txt."""

import os
import sys

from srgan_lightning.demo import main

#: Two shared CPU cores upscale a megapixel in about half a minute.
OPTIONS = ["--host", "0.0.0.0", "--max-megapixels", "1", "--max-megabytes", "16"]


if __name__ == "__main__":
    name = os.environ.get("SPACE_HOST")  # set there: the name that visitors call the page by
    sys.exit(main([*OPTIONS, *(["--allow-host", name] if name else []), *sys.argv[1:]]))
