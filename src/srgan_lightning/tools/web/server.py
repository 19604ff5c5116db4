"""Serving the page: to this machine alone by default, from a folder of its own, and without a word to the internet."""

import errno
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

import gradio as gr
import safehttpx
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware

from srgan_lightning.tools.web.guard import Audience, Guard
from srgan_lightning.utils.errors import UserError


async def fetch_nothing(hostname: str) -> str:
    """Refuse a host. Gradio loads any public address that a visitor names, of any size; here, files are uploaded."""
    raise ValueError(f"Nothing is fetched from {hostname}.")


def why_not(host: str, port: int) -> str:
    """Why nothing can be served there, in the system's words."""
    try:
        socket.create_server((host, port)).close()
    except OSError as error:
        return "it is taken" if error.errno == errno.EADDRINUSE else error.strerror or str(error)
    return "it was taken a moment ago"


def host_names(host: str, more: Sequence[str]) -> list[str]:
    """The names that a browser may call the page by: with any other, another site could read it (DNS rebinding)."""
    names = {"localhost", "127.0.0.1", "[::1]", f"[{host}]" if ":" in host else host, *more}
    if host in ("0.0.0.0", "::"):
        own = socket.gethostname()
        names |= {own, socket.getfqdn()}
        try:
            addresses = {str(found[4][0]) for found in socket.getaddrinfo(own, None)}
        except OSError:  # a machine that does not know its own name
            addresses = set()
        names |= {f"[{address}]" if ":" in address else address for address in addresses}
    return sorted(names - {"0.0.0.0", "[::]"})


def end(number: int, frame: FrameType | None) -> None:
    """End by a signal in good order, so that the photos of visitors are deleted."""
    raise SystemExit(128 + number)


def serve(
    make_page: Callable[[Path, Audience], gr.Blocks],
    host: str,
    port: int,
    max_bytes: int,
    max_total: int,
    names: Sequence[str] = (),
    login: tuple[str, str] | None = None,
) -> None:
    """Serve until interrupted.

    Args:
        make_page: given the folder for results and the visitors who listen, makes the page.
        host: address to listen at.
        port: its port.
        max_bytes: most that an uploaded file may have.
        max_total: most that all files of all visitors may have together.
        names: that the page may be called by, beside those of this machine.
        login: user and password, or None to let everybody in.

    Raises:
        UserError: the port is unavailable.
    """
    safehttpx.async_validate_url = fetch_nothing  # every fetch of Gradio's asks it first
    if threading.current_thread() is threading.main_thread():  # others, as in tests, may not set it
        signal.signal(signal.SIGTERM, end)
    audience = Audience()
    with tempfile.TemporaryDirectory(prefix="srgan-demo-", ignore_cleanup_errors=True) as name:
        folder = Path(name).resolve()
        # Gradio serves every file under this folder and no other. Its default is shared with all of its programs.
        os.environ["GRADIO_TEMP_DIR"] = os.environ["GRADIO_EXAMPLES_CACHE"] = str(folder)
        page = make_page(folder, audience)
        guards = [
            Middleware(TrustedHostMiddleware, allowed_hosts=host_names(host, names), www_redirect=False),
            Middleware(Guard, folder=folder, max_bytes=max_bytes, max_total=max_total, audience=audience),
        ]
        try:
            _, url, _ = page.launch(
                server_name=host,
                server_port=port,
                auth=login,
                app_kwargs={"middleware": guards, "openapi_url": None},
                max_file_size=max_bytes,
                theme=gr.themes.Default(font=("system-ui", "sans-serif"), font_mono=("ui-monospace", "monospace")),
                footer_links=[],
                run_history=False,
                enable_monitoring=False,
                ssr_mode=False,
                share=False,
                mcp_server=False,
                pwa=False,
                inbrowser=False,
                quiet=True,
                prevent_thread_lock=True,
            )
        except OSError as error:  # of Gradio's, which speaks of its own settings
            why = why_not(host, port)
            raise UserError(f"Port {port} of {host} is unavailable ({why}): choose another with --port.") from error
        print(f"The page is at {url} (Ctrl-C ends it).", flush=True)
        page.block_thread()
