"""Serving the page: to this machine alone by default, from a folder of its own, and without a word to the internet."""

import errno
import os
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

import gradio as gr
import safehttpx

from srgan_lightning.errors import UserError


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


def serve(make_page: Callable[[Path], gr.Blocks], host: str, port: int, max_bytes: int) -> None:
    """Serve until interrupted.

    Args:
        make_page: given the folder for results, makes the page.
        host: address to listen at.
        port: its port.
        max_bytes: most that an uploaded file may have.

    Raises:
        UserError: the port cannot be had.
    """
    safehttpx.async_validate_url = fetch_nothing  # every fetch of Gradio's asks it first
    with tempfile.TemporaryDirectory(prefix="srgan-demo-") as folder:
        # Gradio serves every file under this folder and no other. Its default is shared with all of its programs.
        os.environ["GRADIO_TEMP_DIR"] = os.environ["GRADIO_EXAMPLES_CACHE"] = str(Path(folder).resolve())
        page = make_page(Path(folder).resolve())
        try:
            _, url, _ = page.launch(
                server_name=host,
                server_port=port,
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
            raise UserError(f"Port {port} of {host} cannot be had ({why}): choose another with --port.") from error
        print(f"The page is at {url} (Ctrl-C ends it).", flush=True)
        page.block_thread()
