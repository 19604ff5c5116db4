"""The model card (README.md) of a generator, from what its artifact says of it."""

from collections.abc import Mapping
from typing import Any

from srgan_lightning.metrics import NAMES

#: By the class of the data group; `data.licence` in the metadata goes first.
LICENCES = {
    "CelebAData": "CelebA is for non-commercial research only, and its images may not be passed on; its makers ask "
    "that this be kept for what is made from it (mmlab.ie.cuhk.edu.hk/projects/CelebA.html).",
    "SyntheticData": "None is needed: the images are drawn by the program.",
}
UNKNOWN_LICENCE = "Not recorded. Whoever publishes these weights should state it here."

CARD = """\
---
library_name: srgan-lightning
pipeline_tag: image-to-image
tags:
- super-resolution
- srgan
- model_hub_mixin
- pytorch_model_hub_mixin
---

# SRGAN generator, x{scale}

Upscales RGB photos {scale} times: the generator of SRGAN (Ledig et al. 2017, arXiv 1609.04802), made with
srgan-lightning {version}.

```python
from srgan_lightning.inference.hub import HubGenerator

generator = HubGenerator.from_pretrained("this folder")  # float32 RGB in [0, 1], (B, 3, H, W)
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

- It has learnt from the data above, with low resolution made by the degradation above. Other subjects, compression,
  noise or blur give worse results, and scores on them are not known.
- Detail that it adds is plausible, not recovered: many sharp images have the same small one. Its output is no evidence
  of what was there: do not use it to identify people, to read signs or plates, or in medical or legal decisions.
- Faces and groups that are rare in the data may be drawn towards those that are frequent.
"""


def model_card(arguments: Mapping[str, Any], about: Mapping[str, Any]) -> str:
    """Write the card.

    Args:
        arguments: the generator's.
        about: its artifact's metadata, decoded; recipe, training, data, scores and protocol are told where present.

    Returns:
        Markdown with the Hub's YAML header.
    """
    data = about.get("data")
    facts = data if isinstance(data, dict) else {}
    return CARD.format(
        scale=arguments["scale"],
        version=about.get("version", ""),
        arguments=bullets(arguments),
        recipe=bullets(about.get("recipe")),
        training=bullets(about.get("training")),
        data=bullets({key: value for key, value in facts.items() if key != "licence"} or data),
        licence=facts.get("licence") or LICENCES.get(facts.get("set", ""), UNKNOWN_LICENCE),
        scores=score_table(about.get("scores"), about.get("protocol")),
    )


def bullets(facts: Any) -> str:
    """A list of `name: value`; values that are mappings go on one line."""
    if not facts:
        return "Not recorded."
    if not isinstance(facts, Mapping):
        return str(facts)
    rows = []
    for name, value in facts.items():
        if isinstance(value, Mapping):
            value = ", ".join(f"{key} {number}" for key, number in value.items())
        rows.append(f"- {name}: {value}")
    return "\n".join(rows)


def score_table(scores: Any, protocol: Any) -> str:
    """The model beside bicubic on the same validation images, and the protocol of the scores."""
    if not isinstance(scores, Mapping) or not {*NAMES} <= scores.keys():
        return bullets(scores)
    rows = ["| | model | bicubic |", "| --- | --- | --- |"]
    for name in NAMES:
        digits = 2 if "psnr" in name else 4
        values = [scores[name], scores.get(f"bicubic_{name}")]
        rows.append(
            " | ".join([f"| {name}", *("" if value is None else f"{value:.{digits}f}" for value in values)]) + " |"
        )
    return "\n".join(rows) + "\n\nValidation images of the training run, scored so:\n\n" + bullets(protocol)
