"""Lay out the page, and handle its buttons."""

import functools
import html
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import gradio as gr
import torch
from gradio.data_classes import ImageData

from srgan_lightning.artifacts.bundled import DEFAULT_PRECISION
from srgan_lightning.artifacts.foreign import SUFFIXES
from srgan_lightning.tools.web.examples import EXAMPLES, write_example
from srgan_lightning.tools.web.guard import KEEP_SECONDS, Audience
from srgan_lightning.tools.web.request import UpscaleRequest, run_request
from srgan_lightning.utils.errors import UserError

QUEUE = 64  # maximum number of waiting requests; further ones are refused
ALONE = "none"
#: JavaScript that scrolls to the result, which is below all options on narrow pages. It scrolls again
#: until the picture of the result has its final height.
SCROLL = """() => {
    if (innerWidth >= 768) return
    const result = document.getElementById('result'), look = () => result.scrollIntoView()
    const resized = new ResizeObserver(look)
    look()
    resized.observe(result)
    setTimeout(() => resized.disconnect(), 5000)
}"""

PRECISIONS = ("auto", "32", "bf16")
SECOND = "Blends two models of one architecture, such as srresnet-x4 (faithful) and srgan-faces-x4 (sharp)."
OUTSCALE = "Factor for width and height, such as 2.5. 0 uses the network's own factor, which is 4 for bundled models."
PRECISION = "32 is exact. bf16 is faster on some devices, but off by a few levels of 255. auto uses bf16 only on those."
OWN = "generator.safetensors, or published weights that spandrel knows"


def photo_input(**options: Any) -> gr.Image:
    """Make an input for an image file that passes on the uploaded file unchanged.

    Gradio would decode files of any size, and lose depth and metadata. This is not a subclass, because Gradio would
    write a stub file for it into this package.
    """
    field = gr.Image(buttons=[], **options)
    field.preprocess = uploaded_file  # type: ignore[method-assign]
    return field


def uploaded_file(payload: ImageData | None) -> str | None:
    """Return the path of an uploaded file. Gradio has already checked that an upload created this file."""
    return None if payload is None else payload.path


def example_file(kind: str, folder: Path) -> str:
    """Write an example, and return its path as Gradio needs it."""
    return str(write_example(kind, folder))


def number(value: Any) -> float:
    """Parse the value of a number field, which Gradio does not check."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError("outscale: give a number, such as 2.5.") from error


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
        choices: labels on the page by names or files of weights; the first is the default.
        device: device of the network.
        max_pixels: maximum number of pixels of a photo.
        folder: folder for results, from which Gradio serves files.
        audience: tracks the visitors who wait for a result.
        precision: the default on the page; see `upscale_image`.
    """
    names = [(label, weights) for weights, label in choices.items()]
    lifetime = (KEEP_SECONDS // 6, KEEP_SECONDS)
    page = gr.Blocks(title="srgan-lightning", analytics_enabled=False, delete_cache=lifetime)
    with page:
        gr.Markdown(
            "# Super-resolution\nDrop a photo or click an example, press Upscale, and compare the result with bicubic "
            "interpolation."
        )
        with gr.Row():
            with gr.Column(scale=2, min_width=320):
                photo = photo_input(label="Photo", sources=["upload", "clipboard"], height=280, elem_id="photo")
                with gr.Row():
                    examples = [gr.Button(kind, size="sm", min_width=96) for kind in EXAMPLES]
                weights = gr.Dropdown(names, value=names[0][1], label="Weights")
                with gr.Row():
                    start = gr.Button("Upscale", variant="primary")
                    stop = gr.Button("Stop")
                with gr.Accordion("Blend with a second model", open=False):
                    second = gr.Dropdown([(ALONE, ALONE), *names], value=ALONE, label="Second", info=SECOND)
                    amount = gr.Slider(0, 1, value=0.5, step=0.05, label="Share of the second")
                with gr.Accordion("Size and precision", open=False):
                    outscale = gr.Number(0, label="Outscale", info=OUTSCALE, step=0.1)
                    arithmetic = gr.Radio(PRECISIONS, value=precision, label="Precision", info=PRECISION)
                with gr.Accordion("Your own weights", open=False):
                    own = gr.File(label=OWN, file_types=[".safetensors", *SUFFIXES], height=120, elem_id="own")
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
            make_handler(choices, device, max_pixels, folder, audience),
            [photo, weights, second, amount, own, truth, arithmetic, outscale],
            [slider, caption, download],
            api_visibility="private",
            concurrency_limit=1,
            show_progress_on=slider,
        )
        start.click(None, js=SCROLL, api_visibility="private")
        event.then(None, js=SCROLL, api_visibility="private")
        stop.click(None, cancels=event, api_visibility="private")
        for kind, button in zip(EXAMPLES, examples, strict=True):
            example = functools.partial(example_file, kind, folder)
            button.click(example, None, photo, api_visibility="private", show_progress="hidden")
    page.queue(max_size=QUEUE)
    return page


def make_handler(
    choices: Collection[str], device: torch.device, max_pixels: int, folder: Path, audience: Audience
) -> Callable[..., Iterator[tuple[Any, ...]]]:
    """Return the function for the button Upscale; for the arguments see `make_page`."""

    def upscale(
        photo: str | None,
        weights: str,
        second: str,
        amount: float,
        own: str | None,
        truth: str | None,
        precision: str,
        outscale: float | None,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008  # Gradio passes progress by this default
    ) -> Iterator[tuple[Any, ...]]:
        try:
            if photo is None:
                raise UserError("There is no photo yet. Drop a photo first.")
            if weights not in list(choices) or second not in [ALONE, *choices]:  # Gradio accepts None and lists too
                raise UserError("No weights are chosen. Choose weights first.")
            wanted = UpscaleRequest(
                Path(photo),
                own or weights,
                None if second == ALONE else second,
                amount,
                None if truth is None else Path(truth),
                precision,
                None if outscale is None else number(outscale) or None,
            )
            progress(0.0, desc="Upscaling")
            visitor, start = str(request.session_hash), time.monotonic()
            for step in run_request(wanted, device, max_pixels, folder):
                if audience.has_left(visitor, start):
                    return
                if isinstance(step, float):
                    progress(step, desc="Upscaling")
                    yield (gr.skip(),) * 3  # Gradio ends the request here after Stop, or if the page was closed
                else:
                    yield (
                        (str(step.bicubic), str(step.sr)),
                        gr.Markdown(step.caption, visible=True),
                        gr.DownloadButton(value=str(step.sr), interactive=True),
                    )
        except UserError as error:
            # Escape the message: Gradio renders it as HTML, and it may contain a file's name or metadata.
            raise gr.Error(html.escape(str(error), quote=False), print_exception=False) from error

    return upscale
