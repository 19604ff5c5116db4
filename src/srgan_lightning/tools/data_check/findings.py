"""What can be wrong with a data set, and how bad that is."""

from dataclasses import dataclass
from typing import NamedTuple


class Kind(NamedTuple):
    """A kind of finding.

    Args:
        severity: `error` (training would stop, or learn from or be judged by wrong data), `warning` (likely worse
            results) or `note` (dealt with; good to know).
        title: what it is.
        advice: what to do.
    """

    severity: str
    title: str
    advice: str


SEVERITIES = ("error", "warning", "note")

KINDS = {
    "unreadable": Kind("error", "cannot be read", "remove or replace the file"),
    "too_small": Kind("error", "too small", "remove the file, or lower data.crop or data.size"),
    "sizes": Kind("error", "sizes that do not fit", "set data.crop, and one that scale divides"),
    "pair_missing": Kind("error", "no partner", "each LR needs an HR of the same stem, and the other way round"),
    "pair_size": Kind("error", "LR and HR do not fit in size", "make LR anew, or set scale"),
    "pair_content": Kind("error", "LR does not show what HR shows", "look for mixed-up names or a shift"),
    "leak": Kind("error", "in training and in validation or test", "remove it from one of them"),
    "partition": Kind("error", "bad line in the partition file", "get the file again"),
    "missing": Kind("error", "named by the partition, not there", "get the images again"),
    "duplicate": Kind("warning", "more than once in one set", "keep one"),
    "upsampled": Kind("warning", "no fine detail: enlarged or blurred", "use the original, or shrink it"),
    "pair_far": Kind("warning", "LR far from the shrunken HR", "look at the pair: blur, noise or other colours?"),
    "enlarged": Kind("note", "enlarged to data.size", "data=celeba_native never enlarges"),
    "mode": Kind("note", "not plain RGB", "it is converted"),
    "orientation": Kind("note", "stored sideways", "it is turned upright"),
    "not_divisible": Kind("note", "no multiple of the scale", "a rest is cut off"),
    "unlisted": Kind("note", "not named by the partition", "it is not used"),
    "ignored": Kind("note", "no known image ending", "convert what are images"),
}


@dataclass(frozen=True)
class Finding:
    """One thing found.

    Args:
        kind: a key of `KINDS`.
        split: `train`, `val`, `test`, or several joined by `+`.
        files: the files it is about.
        detail: the facts.
    """

    kind: str
    split: str
    files: tuple[str, ...]
    detail: str

    @property
    def severity(self) -> str:
        return KINDS[self.kind].severity
