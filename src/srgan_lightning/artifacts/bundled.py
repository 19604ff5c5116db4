"""The models that come with the package, by name."""

from difflib import get_close_matches
from pathlib import Path

from srgan_lightning.utils.errors import UserError

BUNDLED = Path(__file__).resolve().parent / "weights"
#: For anybody's photo: better than bicubic on sharp, blurred and compressed ones alike.
DEFAULT = "srresnet-faces-x4"
#: Of `upscale`, `upscale_image` and the web page. `auto` once every bundled model is as near to float32 in bf16 as
#: tests/inference/test_bf16.py asks.
DEFAULT_PRECISION = "32"


def bundled_names() -> list[str]:
    """The models of the package, the default first."""
    names = sorted(path.stem for path in BUNDLED.glob("*.safetensors"))
    return sorted(names, key=lambda name: name != DEFAULT)


def find_weights(weights: str | Path, setting: str = "weights", others: tuple[str, ...] = ()) -> Path:
    """The file that a path or the name of a bundled model means.

    Args:
        weights: the path or the name.
        setting: the option that named it, for the error.
        others: names that the option takes besides, for the error.

    Raises:
        UserError: there is neither.
    """
    if Path(weights).is_file():
        return Path(weights)
    bundled = BUNDLED / f"{weights}.safetensors"
    if bundled.is_file():
        return bundled
    names = [*bundled_names(), *others]
    near = "".join(f" Did you mean {name}?" for name in get_close_matches(str(weights), names, 1))
    raise UserError(
        f"{setting}={weights}: no such file (looked in {Path(weights).absolute()}) and no bundled model of that name "
        f"(there are: {', '.join(names) or 'none'}).{near}"
    )
