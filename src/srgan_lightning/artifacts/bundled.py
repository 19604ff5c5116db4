"""Find bundled models by name."""

from difflib import get_close_matches
from pathlib import Path

from srgan_lightning.utils.errors import UserError

BUNDLED = Path(__file__).resolve().parent / "weights"
#: The default model. It is better than bicubic on sharp, blurred and compressed photos.
DEFAULT = "srgan-faces-x4"
#: The purpose of each bundled model, printed after the model's name and a colon.
PURPOSES = {
    "srgan-faces-x4": "crisp; any photo; texture in skin and hair is invented",
    "srresnet-faces-x4": "faithful; any photo, compressed and blurred ones too",
    "srresnet-x4": "faithful; sharp photos that were never compressed",
}
#: Default precision of `upscale`, `upscale_image` and the web page: bf16 on devices that have it in hardware.
#: tests/inference/test_bf16.py checks that the output of every bundled model in bf16 is close enough to float32.
DEFAULT_PRECISION = "auto"


def bundled_names() -> list[str]:
    """Return the names of the package's models, the default first."""
    names = sorted(path.stem for path in BUNDLED.glob("*.safetensors"))
    return sorted(names, key=lambda name: name != DEFAULT)


def find_weights(weights: str | Path, setting: str = "weights", others: tuple[str, ...] = ()) -> Path:
    """Return the file for a path or the name of a bundled model.

    Args:
        weights: the path or the name.
        setting: the option that `weights` comes from, for the error message.
        others: other names that the option accepts, for the error message.

    Raises:
        UserError: there is neither such a file nor such a model.
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
        f"(available: {', '.join(names) or 'none'}).{near}"
    )
