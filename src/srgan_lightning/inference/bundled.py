"""The models that come with the package, by name."""

from pathlib import Path

from srgan_lightning.errors import UserError

BUNDLED = Path(__file__).resolve().parents[1] / "weights"


def bundled_names() -> list[str]:
    """The models of the package, sorted."""
    return sorted(path.stem for path in BUNDLED.glob("*.safetensors"))


def find_weights(weights: str | Path) -> Path:
    """The file that a path or the name of a bundled model means.

    Raises:
        UserError: there is neither.
    """
    if Path(weights).is_file():
        return Path(weights)
    bundled = BUNDLED / f"{weights}.safetensors"
    if bundled.is_file():
        return bundled
    names = ", ".join(bundled_names()) or "none"
    raise UserError(
        f"weights={weights}: no such file (looked in {Path(weights).absolute()}) and no bundled model of that name "
        f"(there are: {names})."
    )
