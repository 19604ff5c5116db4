"""Serve the page, by default only to this machine, from a private folder and without internet access."""

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

#: Cut off a long name of weights before the arrow of its field, so that name and arrow do not overlap.
CSS = "input[role=combobox] { text-overflow: ellipsis; padding-right: 2.5em !important }"


async def fetch_nothing(hostname: str) -> str:
    """Refuse every host. Gradio would download files of any size from any public address that a visitor gives."""
    raise ValueError(f"Nothing is fetched from {hostname}.")


def why_not(host: str, port: int) -> str:
    """Return the reason why a port cannot be used."""
    try:
        socket.create_server((host, port)).close()
    except OSError as error:
        return "it is in use" if error.errno == errno.EADDRINUSE else error.strerror or str(error)
    return "it was in use a moment ago"


def host_names(host: str, more: Sequence[str]) -> list[str]:
    """Return the allowed host names. If all were allowed, another site could read the page (DNS rebinding)."""
    names = {"localhost", "127.0.0.1", "[::1]", f"[{host}]" if ":" in host else host, *more}
    if host in ("0.0.0.0", "::"):
        own = socket.gethostname()
        names |= {own, socket.getfqdn()}
        try:
            addresses = {str(found[4][0]) for found in socket.getaddrinfo(own, None)}
        except OSError:  # the machine cannot resolve its own name
            addresses = set()
        names |= {f"[{address}]" if ":" in address else address for address in addresses}
    return sorted(names - {"0.0.0.0", "[::]"})


def end(number: int, frame: FrameType | None) -> None:
    """Exit cleanly on a signal, so that visitors' photos are deleted."""
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
        make_page: makes the page from the folder for results and the audience.
        host: address to listen on.
        port: port to listen on.
        max_bytes: largest uploaded file in bytes.
        max_total: maximum number of bytes of all files of all visitors.
        names: allowed host names besides those of this machine.
        login: user and password, or None for free access.

    Raises:
        UserError: the port is unavailable.
    """
    safehttpx.async_validate_url = fetch_nothing  # Gradio calls this function before every download
    if threading.current_thread() is threading.main_thread():  # other threads cannot set handlers
        signal.signal(signal.SIGTERM, end)
    audience = Audience()
    with tempfile.TemporaryDirectory(prefix="srgan-demo-", ignore_cleanup_errors=True) as name:
        folder = Path(name).resolve()
        # Gradio serves every file in this folder. Its default folder is shared with other Gradio programs.
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
                css=CSS,
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
        except OSError as error:  # replace Gradio's message, which names Gradio's settings
            why = why_not(host, port)
            raise UserError(f"Port {port} of {host} is unavailable ({why}): use another with --port.") from error
        print(f"The page is at {url} (press Ctrl-C to stop).", flush=True)
        page.block_thread()
