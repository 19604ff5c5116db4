"""Write the model card (README.md) of a generator from its artifact's metadata.

An artifact may be untrusted, so its metadata become plain text, never HTML or Markdown.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

import yaml

from srgan_lightning.metrics.psnr_ssim import METRIC_NAMES
from srgan_lightning.metrics.score_format import format_score
from srgan_lightning.networks import Generator
from srgan_lightning.networks.spandrel_generator import SpandrelGenerator
from srgan_lightning.utils.markdown import markdown_table, markdown_text

#: Licence of the training data, by class of the data module. `data.licence` in the metadata has priority.
LICENCES = {
    "CelebAData": "CelebA is for non-commercial research only, and its images may not be passed on; its authors "
    "ask that derived work keep these terms (mmlab.ie.cuhk.edu.hk/projects/CelebA.html).",
    "SyntheticData": "None is needed: the images are drawn by the program.",
}
UNKNOWN_LICENCE = "Not recorded. Add it here before publishing these weights."

#: Licence entries of the card's header, for licences that are not in the Hub's own list.
HUB_LICENCES = {
    "CelebAData": {
        "license": "other",
        "license_name": "celeba-non-commercial",
        "license_link": "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html",
    },
}
TASK = "image-to-image"
PAPER = Generator.__name__

CARD = """\
---
{header}---

# {title}, x{scale}

Upscales RGB photos {scale} times: {network}, made with srgan-lightning {version}.

```python
{usage}  # float32 RGB in [0, 1], (B, 3, H, W)
```

## Architecture

{arguments}

## Training recipe

{recipe}

{training}

## Data

{data}

Licence of the data: {licence}

## Scores

{scores}

## Limits

- The generator was trained on the data above, with low resolution {lr}. Other subjects,
  compression, noise or blur give worse results, with unknown scores.
- The detail that it adds is plausible, not recovered: many sharp images have the same low-resolution image. Its output
  is no evidence. Do not use it to identify people, to read signs or plates, or in medical or legal decisions.
- Faces of groups that are rare in the data may be changed to look like those of frequent groups.
"""


HUB_USAGE = """\
from srgan_lightning.artifacts.hub import HubGenerator

generator = HubGenerator.from_pretrained("this folder")"""
USAGE = """\
from srgan_lightning import load_generator

generator = load_generator("generator.safetensors")"""


def network_of(arguments: Mapping[str, Any], metadata: Mapping[str, Any]) -> tuple[str, str]:
    """Return a short title and a description of a network."""
    kind = str(metadata.get("architecture", PAPER))
    if kind == PAPER:
        return "SRGAN generator", "the generator of SRGAN (Ledig et al. 2017, arXiv 1609.04802)"
    if kind == SpandrelGenerator.__name__:
        name = markdown_text(arguments.get("architecture"))
        return name, f"a network of the architecture {name}, as implemented in the library spandrel"
    name = markdown_text(kind)
    return markdown_text(kind.rpartition(".")[2]), f"a network of the class {name}, which needs `--architecture`"


def model_card(arguments: Mapping[str, Any], metadata: Mapping[str, Any]) -> str:
    """Write the model card.

    Args:
        arguments: arguments of the generator.
        metadata: decoded metadata of its artifact. Recipe, training, data, scores and protocol are shown if present.

    Returns:
        Markdown with the Hub's YAML header.
    """
    data = metadata.get("data")
    data_options = data if isinstance(data, dict) else {}
    licence = data_options.get("licence")
    title, network = network_of(arguments, metadata)
    return CARD.format(
        header=yaml.safe_dump(hub_header(arguments, metadata, data_options), sort_keys=False, allow_unicode=True),
        title=title,
        network=network,
        usage=HUB_USAGE if metadata.get("architecture", PAPER) == PAPER else USAGE,
        scale=arguments["scale"],
        version=markdown_text(metadata.get("version", "")),
        arguments=bullets(arguments),
        recipe=bullets(metadata.get("recipe")),
        training=bullets(metadata.get("training")),
        data=bullets({key: value for key, value in data_options.items() if key != "licence"} or data),
        lr="read from files" if data_options.get("lr") == "files" else "made by the degradation above",
        licence=markdown_text(licence) if licence else LICENCES.get(str(data_options.get("set")), UNKNOWN_LICENCE),
        scores=score_table(metadata.get("scores"), metadata.get("protocol"))
        + by_kind_of_lr(metadata.get("scores_by_lr")),
    )


def hub_header(
    arguments: Mapping[str, Any], metadata: Mapping[str, Any], data_options: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the card's header for the Hub, in the layout of `huggingface_hub.ModelCardData`.

    Args:
        arguments: arguments of the generator.
        metadata: metadata of its artifact.
        data_options: the `data` entry of the metadata.
    """
    kind = str(data_options.get("set") or "unknown")[:100]
    unnamed = {"license": "other", "license_name": "see-model-card", "license_link": "README.md"}
    licence = unnamed if data_options.get("licence") else HUB_LICENCES.get(kind, {"license": "unknown"})
    header: dict[str, Any] = {"library_name": "srgan-lightning", **licence, "pipeline_tag": TASK}
    if kind == "CelebAData":  # the only data set with a public name
        header["datasets"] = ["celeba"]
    header["tags"] = ["super-resolution"]
    if metadata.get("architecture", PAPER) == PAPER:
        header["tags"] += ["srgan", "model_hub_mixin", "pytorch_model_hub_mixin"]
    scores = metadata.get("scores")
    known = [name for name in METRIC_NAMES if isinstance(scores, Mapping) and _number(scores.get(name)) is not None]
    if known and isinstance(scores, Mapping):
        metrics = [
            {"type": name.partition("_")[0], "value": round(float(scores[name]), 4), "name": name} for name in known
        ]
        result = {
            "task": {"type": TASK, "name": "super-resolution"},
            "dataset": {"name": f"validation images of {kind}", "type": kind.lower()},
            "metrics": metrics,
        }
        title, _ = network_of(arguments, metadata)
        header["model-index"] = [{"name": f"{title}, x{arguments['scale']}", "results": [result]}]
    return header


def _unlike_markup(text: str) -> str:
    """Escape the start of a line, so that Markdown does not read the line as a heading, list or rule."""
    return re.sub(r"^(\d*)([#+=.)-])", r"\1\\\2", text)


def bullets(values: Any) -> str:
    """Format a Markdown list of `name: value`; values that are mappings are put on one line."""
    if not values:
        return "Not recorded."
    if not isinstance(values, Mapping):
        return _unlike_markup(markdown_text(values))
    rows = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            value = ", ".join(f"{key} {number}" for key, number in value.items())
        rows.append(f"- {_unlike_markup(markdown_text(name))}: {markdown_text(value)}")
    return "\n".join(rows)


def score_table(scores: Any, protocol: Any) -> str:
    """Format a table of the scores of the model and of bicubic on the validation images, followed by the protocol.

    If one of `METRIC_NAMES` is missing, the scores are only listed.
    """
    if not isinstance(scores, Mapping) or any(_number(scores.get(name)) is None for name in METRIC_NAMES):
        return bullets(scores)
    rows = []
    for name in METRIC_NAMES:
        values = [_number(scores.get(key)) for key in (name, f"bicubic_{name}")]
        rows.append([name, *("" if value is None else format_score(name, value) for value in values)])
    table = markdown_table(["", "model", "bicubic"], rows)
    return f"{table}\n\nScored on the validation images of the training run, by this protocol:\n\n{bullets(protocol)}"


def by_kind_of_lr(scores: Any) -> str:
    """Format a table of the model's scores on each kind of LR; empty if the artifact has none.

    Args:
        scores: for each kind of LR, scores by name (`scores_by_lr` of the metadata).
    """
    if not isinstance(scores, Mapping) or not all(isinstance(row, Mapping) for row in scores.values()):
        return ""
    columns = list(dict.fromkeys(name for row in scores.values() for name in row))
    rows = []
    for kind, row in scores.items():
        values = [_number(row.get(name)) for name in columns]
        rows.append([kind, *("" if value is None else f"{value:g}" for value in values)])
    return f"\n\n{markdown_table(['LR', *columns], rows)}"


def _number(value: Any) -> float | None:
    """Return a finite number as float, and None for anything else."""
    return float(value) if type(value) in (int, float) and abs(value) < 1e9 and math.isfinite(value) else None
