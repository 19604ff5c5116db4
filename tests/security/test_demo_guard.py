"""The public web page: passwords, names, paths, endless uploads, visitors who leave, and shutdown."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from srgan_lightning.demo import login_of, make_parser
from srgan_lightning.utils.errors import UserError

httpx = pytest.importorskip("httpx", reason="needs the extra demo")
pytest.importorskip("gradio", reason="needs the extra demo")

from srgan_lightning.tools.web import guard  # noqa: E402
from srgan_lightning.tools.web.server import host_names  # noqa: E402
from tests.helpers.pictures import smooth  # noqa: E402

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path, Any]]:
    """Start a page with a password, 2 MB for uploads and one further host name; return its address and folder."""
    folder = tmp_path_factory.mktemp("guarded")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    command = [sys.executable, "-m", "srgan_lightning.demo", "--device", "cpu", "--host", "0.0.0.0", "--port", port]
    command += ["--max-megabytes", "1.5", "--max-total-megabytes", "2", "--allow-host", "photos.example"]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(folder), "SRGAN_DEMO_AUTH": "ann:secret"}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert f":{port}" in process.stdout.readline()
            yield f"http://127.0.0.1:{port}", folder, process
        finally:
            process.kill()


@pytest.fixture
def visitor(server: tuple[str, Path, Any]) -> Iterator[Any]:
    with httpx.Client(base_url=server[0], timeout=60) as client:
        client.post("/login", data={"username": "ann", "password": "secret"}).raise_for_status()
        yield client


def test_nothing_without_the_password(server: tuple[str, Path, Any]) -> None:
    with httpx.Client(base_url=server[0], timeout=60) as client:
        assert client.get("/config").status_code == 401
        assert client.post("/gradio_api/upload", files={"files": ("a.png", b"1")}).status_code == 401
        assert client.post("/login", data={"username": "ann", "password": "wrong"}).status_code == 400


def test_other_names_are_refused(visitor: Any) -> None:
    port = visitor.base_url.port
    for name in ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", "localhost.evil.example", ""):
        assert visitor.get("/config", headers={"Host": name}).status_code == 400, name
    for name in ("photos.example", f"localhost:{port}", socket.gethostname()):
        assert visitor.get("/config", headers={"Host": name}).status_code == 200, name
    assert "0.0.0.0" not in host_names("0.0.0.0", [])
    assert host_names("127.0.0.1", []) == ["127.0.0.1", "[::1]", "localhost"]


def test_the_public_api_is_closed(visitor: Any) -> None:
    for path in ("openapi.json", "docs", "redoc", "gradio_api/openapi.json", "gradio_api/openapi.json/"):
        assert visitor.get(f"/{path}").status_code == 404, path
    for path in ("call/upscale", "call/v2/upscale", "run/upscale", "api/upscale", "call/upscale/", "run/predict"):
        assert visitor.post(f"/gradio_api/{path}", json={"data": []}).status_code == 404, path
    assert not visitor.get("/gradio_api/info").json()["named_endpoints"]


def test_uploads_are_bounded(visitor: Any, server: tuple[str, Path, Any]) -> None:
    def upload(content: Any, name: str = "a.png") -> int:
        return int(visitor.post("/gradio_api/upload", files={"files": (name, content)}).status_code)

    quoted = b'--x\r\nContent-Disposition: form-data; name="files"; filename=""\r\n\r\nabc\r\n--x--\r\n'
    form = {"Content-Type": "multipart/form-data; boundary=x"}
    for body in (quoted, quoted.replace(b'""', b'".."'), quoted.replace(b'""', b'"/"'), quoted[:40], b""):
        answer = visitor.post("/gradio_api/upload", content=body, headers=form)
        assert answer.status_code < 500, body
    assert visitor.post("/gradio_api/upload", content=iter([quoted]), headers=form).status_code == 411
    assert upload(bytes(1_600_000)) == 413
    assert [upload(bytes([number]) * 900_000) for number in range(4)] == [200, 200, 507, 507]
    (folder,) = server[1].glob("srgan-demo-*")
    for file in folder.rglob("*"):
        os.utime(file, (0, 0))
    assert upload(b"1") == 200  # files older than an hour were removed


def test_a_request_whose_visitor_has_left_frees_its_slot(visitor: Any, tmp_path: Path) -> None:
    def upload(size: tuple[int, int]) -> Any:
        smooth(size=size).save(tmp_path / "a.jpg")
        path = visitor.post("/gradio_api/upload", files={"files": ("a.jpg", (tmp_path / "a.jpg").read_bytes())})
        return {"path": path.json()[0], "meta": {"_type": "gradio.FileData"}}

    def join(photo: Any, name: str) -> None:
        order = {
            "data": [photo, "srgan-faces-x4", "none", 0.5, None, None, "32", None],
            "fn_index": 0,
            "session_hash": name,
        }
        visitor.post("/gradio_api/queue/join", json=order).raise_for_status()

    join(upload((1900, 1900)), "gone")  # minutes of work whose result nobody fetches
    join(upload((16, 16)), "waits")
    start = time.monotonic()
    with visitor.stream("GET", "/gradio_api/queue/data", params={"session_hash": "waits"}) as lines:
        assert any('"process_completed"' in line and '"success":true' in line for line in lines.iter_lines())
    assert time.monotonic() - start < guard.PATIENCE + 45  # a tile may be in progress


def test_a_long_session_hash_is_refused(visitor: Any) -> None:
    assert visitor.get("/gradio_api/queue/data", params={"session_hash": "x" * 65}).status_code == 400


def test_a_visitor_has_left_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(guard.time, "monotonic", lambda: now[0])
    audience = guard.Audience()
    assert not audience.has_left("a", since=100 - guard.PATIENCE)
    assert audience.has_left("a", since=99 - guard.PATIENCE)
    audience.come("a")
    assert not audience.has_left("a", since=0)
    audience.leave("a")
    assert not audience.has_left("a", since=0)
    now[0] += guard.PATIENCE + 1
    assert audience.has_left("a", since=0)
    audience.come("b")
    audience.leave("b")
    assert not audience.listening
    assert [*audience.last_seen] == ["b"]  # keeps nothing of those who left a while ago


def test_sigterm_deletes_the_photos(visitor: Any, server: tuple[str, Path, Any]) -> None:
    """This is the last test of the file, because it ends the server."""
    visitor.post("/gradio_api/upload", files={"files": ("a.png", b"2")}).raise_for_status()
    assert list(server[1].glob("srgan-demo-*"))
    server[2].send_signal(signal.SIGTERM)
    assert server[2].wait(30) == 143
    assert not list(server[1].glob("srgan-demo-*"))
    said = server[2].stderr.read()
    assert "Traceback" not in said
    assert "without a password" not in said


def test_the_password_comes_from_the_option_or_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    def login(*words: str) -> tuple[str, str] | None:
        return login_of(make_parser().parse_args(words))

    monkeypatch.delenv("SRGAN_DEMO_AUTH", raising=False)
    assert login() is None
    assert login("--auth", "ann:a:b") == ("ann", "a:b")
    monkeypatch.setenv("SRGAN_DEMO_AUTH", "bob:c")
    assert login() == ("bob", "c")
    for words in ("ann", "ann:", ":secret", ""):
        with pytest.raises(UserError, match="USER:PASSWORD"):
            login("--auth", words)


def test_a_public_page_without_a_password_gives_a_warning(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from srgan_lightning import demo
    from srgan_lightning.tools.web import server

    monkeypatch.delenv("SRGAN_DEMO_AUTH", raising=False)
    monkeypatch.setattr(server, "serve", lambda *_: None)  # only the warning matters
    assert demo.main(["--host", "0.0.0.0", "--device", "cpu"]) == 0
    assert "--auth USER:PASSWORD" in capsys.readouterr().err
    assert demo.main(["--device", "cpu"]) == 0
    assert demo.main(["--host", "0.0.0.0", "--auth", "a:b", "--device", "cpu"]) == 0
    assert not capsys.readouterr().err
