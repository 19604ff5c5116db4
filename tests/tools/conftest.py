"""One web server for all tests."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
import torch

from srgan_lightning.artifacts.artifact import save_artifact
from tests.helpers.generators import ABOUT, tiny_generator
from tests.helpers.pictures import smooth
from tests.helpers.visitor import Site


@pytest.fixture(scope="session")
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
        assert not list((folder / "tmp").glob("srgan-demo-*"))  # uploads and results were removed
    finally:
        server.kill()
        server.wait()
