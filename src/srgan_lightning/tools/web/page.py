"""The page: what stands on it, and what a click does."""

import functools
import html
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import torch
from gradio.data_classes import ImageData

from srgan_lightning.artifacts.bundled import DEFAULT_PRECISION
from srgan_lightning.tools.web.examples import EXAMPLES, write_example
from srgan_lightning.tools.web.guard import KEEP_SECONDS, Audience
from srgan_lightning.tools.web.request import UpscaleRequest, run_request
from srgan_lightning.utils.errors import UserError

QUEUE = 64  # waiting requests; further ones are refused
ALONE = "none"
#: Where the page has one column, the result is below all options.
SCROLL = "() => { if (innerWidth < 768) document.getElementById('result').scrollIntoView({behavior: 'smooth'}) }"


def photo_input(**options: Any) -> gr.Image:
    """A field for an image file, which comes as it was uploaded.

    Gradio itself would decode it, whatever its size, and lose depth and metadata. It is no subclass, for which Gradio
    would write a stub file beside this one.
    """
    field = gr.Image(buttons=[], **options)
    field.preprocess = uploaded_file  # type: ignore[method-assign]
    return field


def uploaded_file(payload: ImageData | None) -> str | None:
    """Where an upload lies; Gradio has made sure that it is one."""
    return None if payload is None else payload.path


def example_file(kind: str, folder: Path) -> str:
    """Where an example has been written, as Gradio takes it."""
    return str(write_example(kind, folder))


def make_page(
    choices: dict[str, str],
    device: torch.device,
    max_pixels: int,
    folder: Path,
    audience: Audience,
    precision: str = DEFAULT_PRECISION,
) -> gr.Blocks:
    """Lay out the page.

    Args:
        choices: weights by the name that visitors choose them by; the first is chosen already.
        device: for the network.
        max_pixels: most that a photo may have.
        folder: for results; Gradio's own, which it serves files from.
        audience: knows who still waits for a result.
        precision: see `upscale_image`.
    """
    names = list(choices)
    lifetime = (KEEP_SECONDS // 6, KEEP_SECONDS)
    page = gr.Blocks(title="srgan-lightning", analytics_enabled=False, delete_cache=lifetime)
    with page:
        gr.Markdown(
            "# Super-resolution\nDrop a photo or click an example, press Upscale, and compare the result with bicubic "
            "interpolation."
        )
        with gr.Row():
            with gr.Column(scale=2, min_width=280):
                photo = photo_input(label="Photo", sources=["upload", "clipboard"], height=280, elem_id="photo")
                with gr.Row():
                    examples = [gr.Button(kind, size="sm", min_width=96) for kind in EXAMPLES]
                weights = gr.Dropdown(names, value=names[0], label="Weights")
                with gr.Row():
                    start = gr.Button("Upscale", variant="primary")
                    stop = gr.Button("Stop")
                with gr.Accordion("Blend with a second model", open=False):
                    second = gr.Dropdown([ALONE, *names], value=ALONE, label="Second", info="Of the same architecture.")
                    amount = gr.Slider(0, 1, value=0.5, step=0.05, label="Share of the second")
                with gr.Accordion("Weights of your own", open=False):
                    own = gr.File(label="generator.safetensors", file_types=[".safetensors"], height=120, elem_id="own")
                with gr.Accordion("Score against the original", open=False):
                    truth = photo_input(label="As large as the result", sources=["upload"], height=240, elem_id="truth")
            with gr.Column(scale=5, min_width=320):
                slider = gr.ImageSlider(
                    label="Bicubic | result (scroll to zoom)",
                    max_height=640,
                    buttons=["fullscreen"],
                    elem_id="result",
                )
                download = gr.DownloadButton("Download PNG", interactive=False)
                caption = gr.Markdown(container=True, padding=True, visible=False)
        event = start.click(
            make_handler(choices, device, max_pixels, folder, audience, precision),
            [photo, weights, second, amount, own, truth],
            [slider, caption, download],
            api_visibility="private",
            concurrency_limit=1,
            show_progress_on=slider,
        )
        start.click(None, js=SCROLL, api_visibility="private")
        stop.click(None, cancels=event, api_visibility="private")
        for kind, button in zip(EXAMPLES, examples, strict=True):
            example = functools.partial(example_file, kind, folder)
            button.click(example, None, photo, api_visibility="private", show_progress="hidden")
    page.queue(max_size=QUEUE)
    return page


def make_handler(
    choices: dict[str, str],
    device: torch.device,
    max_pixels: int,
    folder: Path,
    audience: Audience,
    precision: str = DEFAULT_PRECISION,
) -> Callable[..., Iterator[tuple[Any, ...]]]:
    """What a click on Upscale does; for the arguments see `make_page`."""

    def upscale(
        photo: str | None,
        weights: str,
        second: str,
        amount: float,
        own: str | None,
        truth: str | None,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  # how Gradio knows that it is wanted
    ) -> Iterator[tuple[Any, ...]]:
        try:
            if photo is None:
                raise UserError("There is no photo yet: drop one first.")
            wanted = UpscaleRequest(
                Path(photo),
                own or choices[weights],
                None if second == ALONE else choices[second],
                amount,
                None if truth is None else Path(truth),
            )
            progress(0.0, desc="Upscaling")
            visitor, start = str(request.session_hash), time.monotonic()
            for step in run_request(wanted, device, max_pixels, folder, precision):
                if audience.has_left(visitor, start):
                    return
                if isinstance(step, float):
                    progress(step, desc="Upscaling")
                    yield (gr.skip(),) * 3  # here Gradio ends the work of those who pressed Stop or left
                else:
                    yield (
                        (str(step.bicubic), str(step.sr)),
                        gr.Markdown(step.caption, visible=True),
                        gr.DownloadButton(value=str(step.sr), interactive=True),
                    )
        except UserError as error:
            # Gradio renders it as HTML, and a file's name or metadata may stand in it.
            raise gr.Error(html.escape(str(error), quote=False), print_exception=False) from error

    return upscale
