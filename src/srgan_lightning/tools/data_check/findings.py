"""Define the kinds of findings and their severity."""

from dataclasses import dataclass
from typing import NamedTuple


class Kind(NamedTuple):
    """A kind of finding.

    Args:
        severity: `error` (training would stop, or would use wrong data), `warning` (results are likely worse) or
            `note` (handled automatically).
        title: short description.
        advice: what the user should do.
    """

    severity: str
    title: str
    advice: str


SEVERITIES = ("error", "warning", "note")

KINDS = {
    "unreadable": Kind("error", "cannot be read", "remove or replace the file"),
    "too_small": Kind("error", "too small", "remove the file, or lower data.crop or data.size"),
    "sizes": Kind("error", "sizes that do not fit", "set data.crop to a multiple of scale"),
    "pair_missing": Kind("error", "no partner", "each LR needs an HR with the same stem, and vice versa"),
    "pair_size": Kind("error", "sizes of LR and HR do not match", "make LR again, or set scale"),
    "pair_content": Kind("error", "LR does not show what HR shows", "check for mixed-up names or a shift"),
    "leak": Kind("error", "in training and in validation or test", "remove it from one of them"),
    "partition": Kind("error", "bad line in the partition file", "download the file again"),
    "missing": Kind("error", "in the partition file, but missing", "download the images again"),
    "duplicate": Kind("warning", "more than once", "keep one"),
    "flat": Kind("warning", "one colour", "remove it: exact SR has infinite PSNR, and so has the mean of its set"),
    "upsampled": Kind("warning", "no fine detail: enlarged or blurred", "use the original, or shrink it"),
    "pair_far": Kind("warning", "LR far from downsampled HR", "check the pair for blur, noise or other colours"),
    "enlarged": Kind("note", "enlarged to data.size", "data=celeba_native never enlarges"),
    "mode": Kind("note", "not plain RGB", "it is converted"),
    "orientation": Kind("note", "stored sideways", "it is turned upright"),
    "not_divisible": Kind("note", "not a multiple of the scale", "the remainder is cropped"),
    "unlisted": Kind("note", "not in the partition file", "it is not used"),
    "ignored": Kind("note", "unknown image suffix", "convert images to a known format"),
}


@dataclass(frozen=True)
class Finding:
    """One finding.

    Args:
        kind: a key of `KINDS`.
        split: `train`, `val`, `test`, several joined by `+`, or empty if it is unknown.
        files: the affected files; for `partition` the line.
        detail: details such as sizes.
    """

    kind: str
    split: str
    files: tuple[str, ...]
    detail: str

    @property
    def severity(self) -> str:
        return KINDS[self.kind].severity
