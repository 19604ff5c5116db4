"""A client of the web page without a browser, which can also send requests that the page does not offer."""

import json
import secrets
from pathlib import Path
from typing import Any, NamedTuple


class Site(NamedTuple):
    """A running server."""

    url: str
    folder: Path  # photos and weights of the tests; the server's working directory
    pid: int


class Visitor:
    """Send the page's requests without a browser."""

    def __init__(self, site: Site) -> None:
        import httpx  # of the extra demo

        self.site, self.http = site, httpx.Client(base_url=f"{site.url}gradio_api/", timeout=120)

    def upload(self, file: Path) -> Any:
        answer = self.http.post("upload", files={"files": (file.name, file.read_bytes())})
        answer.raise_for_status()
        return as_file(answer.json()[0])

    def order(self, photo: Any, **changes: Any) -> tuple[str, Any]:
        """Return the last event of a job, `complete` or `error`, and its data."""
        values = {"weights": "srresnet.safetensors", "second": "none", "amount": 0.5, "own": None, "truth": None}
        values |= {"precision": "32", "outscale": None}
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
    """Return Gradio's description of a file on the server."""
    return {"path": path, "meta": {"_type": "gradio.FileData"}}
