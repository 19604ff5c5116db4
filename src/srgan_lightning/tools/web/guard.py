"""ASGI middleware in front of Gradio that closes paths of its API, limits uploads and tracks visitors."""

import shutil
import time
from collections import Counter
from pathlib import Path
from urllib.parse import parse_qs

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

API = "/gradio_api"
CLOSED = (*(f"{API}/{name}" for name in ("api", "call", "run", "openapi.json")), "/openapi.json", "/docs", "/redoc")
KEEP_SECONDS = 3600  # age in seconds at which uploads and results are deleted
PATIENCE = 15.0  # seconds for which a request continues without a listening visitor
MAX_VISITOR = 64  # characters of a session hash; those of Gradio have about 11


class Audience:
    """The visitors who listen for results; a request without a listener would only delay others."""

    def __init__(self) -> None:
        self.listening: Counter[str] = Counter()
        self.last_seen: dict[str, float] = {}

    def come(self, visitor: str) -> None:
        self.listening[visitor] += 1

    def leave(self, visitor: str) -> None:
        self.listening[visitor] -= 1
        if self.listening[visitor] <= 0:
            del self.listening[visitor]  # a server may have any number of visitors
        # An older entry would not change the result of `has_left`.
        self.last_seen = {who: when for who, when in self.last_seen.items() if time.monotonic() - when <= PATIENCE}
        self.last_seen[visitor] = time.monotonic()

    def has_left(self, visitor: str, since: float) -> bool:
        """Check whether the visitor has been absent for more than `PATIENCE` seconds.

        Args:
            visitor: session hash of Gradio.
            since: monotonic time from which absence counts, such as the start of a request.
        """
        away = time.monotonic() - max(since, self.last_seen.get(visitor, since))
        return self.listening[visitor] <= 0 and away > PATIENCE


class Guard:
    """The ASGI middleware.

    Args:
        app: Gradio's app.
        folder: folder with uploads and results.
        max_bytes: largest uploaded file in bytes.
        max_total: maximum number of bytes in the folder, including the new upload.
        audience: notified of visitors who come and leave.
    """

    def __init__(self, app: ASGIApp, folder: Path, max_bytes: int, max_total: int, audience: Audience) -> None:
        self.app, self.folder, self.audience = app, folder, audience
        self.max_bytes, self.max_total, self.arriving = max_bytes, max_total, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "").rstrip("/")
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif any(path == closed or path.startswith(f"{closed}/") for closed in CLOSED):
            await PlainTextResponse("Not Found", 404)(scope, receive, send)
        elif path == f"{API}/upload":
            await self.upload(scope, receive, send)
        elif path == f"{API}/queue/data":
            (visitor,) = parse_qs(scope["query_string"].decode("latin-1")).get("session_hash", [""])[:1]
            if len(visitor) > MAX_VISITOR:
                await PlainTextResponse("The session_hash is too long.", 400)(scope, receive, send)
                return
            self.audience.come(visitor)
            try:
                await self.app(scope, receive, send)
            finally:
                self.audience.leave(visitor)
        else:
            await self.app(scope, receive, send)

    async def upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Accept an upload if there is room for it."""
        length = dict(scope["headers"]).get(b"content-length", b"")
        if not length.isdigit():
            await PlainTextResponse("An upload needs a Content-Length.", 411)(scope, receive, send)
            return
        size = int(length)
        if size > self.max_bytes + 2**16:  # allows for the multipart form around the file
            text = f"The file exceeds the maximum allowed size of {self.max_bytes} bytes."
            await PlainTextResponse(text, 413)(scope, receive, send)
            return
        if held(self.folder) + self.arriving + size > self.max_total:
            await PlainTextResponse("There is no room for more photos. Try again later.", 507)(scope, receive, send)
            return
        started = False

        async def answer(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        self.arriving += size
        try:
            await self.app(scope, receive, answer)
        except Exception:  # Gradio's parser fails on an unexpected form or file name, such as ""
            if started:
                raise
            await PlainTextResponse("The upload cannot be read.", 400)(scope, receive, send)
        finally:
            self.arriving -= size


def held(folder: Path) -> int:
    """Delete files older than `KEEP_SECONDS` from a folder, and return the total size of the others in bytes."""
    total, oldest = 0, time.time() - KEEP_SECONDS
    for child in folder.iterdir():
        try:
            if child.stat().st_mtime < oldest:
                shutil.rmtree(child) if child.is_dir() else child.unlink()
            else:
                total += sum(file.stat().st_size for file in [child, *child.rglob("*")] if file.is_file())
        except OSError:  # the file was deleted meanwhile
            continue
    return total
