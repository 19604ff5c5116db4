"""Save and load a generator in the Hugging Face Hub's layout: config.json, model.safetensors, README.md."""

import json
from pathlib import Path
from typing import Any, Self

import torch

from srgan_lightning.artifacts.artifact import write_artifact
from srgan_lightning.artifacts.load import load_trained
from srgan_lightning.artifacts.model_card import model_card
from srgan_lightning.networks import Generator
from srgan_lightning.utils.errors import UserError
from srgan_lightning.utils.optional import needs_extra

with needs_extra("hub"):
    from huggingface_hub import ModelCard, PyTorchModelHubMixin, constants, hf_hub_download

#: Largest config.json that is read, in bytes. `save_pretrained` writes only four values.
MAX_BYTES = 1_000_000


class HubGenerator(Generator, PyTorchModelHubMixin):  # type: ignore[misc]  # Any where the package is absent
    """A `Generator` with the Hub's methods.

    `save_pretrained(folder)` writes the generator's arguments, its artifact and a model card. `from_pretrained(folder)`
    loads it in eval mode. Both work offline; `push_to_hub(name)` and `from_pretrained(name)` need the internet.
    """

    #: Metadata of the loaded artifact, such as recipe, data and scores. `save_pretrained` writes them again.
    metadata: dict[str, Any]

    def __init__(self, channels: int = 64, blocks: int = 16, scale: int = 4, global_skip: str = "none") -> None:
        super().__init__(channels, blocks, scale, global_skip)
        self.metadata = {}

    @classmethod
    def from_weights(cls, weights: str | Path) -> Self:
        """Load weights from an artifact, a checkpoint or a bundled model.

        Raises:
            UserError: see `load_trained`; or the network is not the paper's generator.
        """
        trained = load_trained(weights)
        if not isinstance(trained.generator, Generator):
            raise UserError(
                f"{weights} holds a {type(trained.generator).__name__}, but HubGenerator is for the paper's generator."
            )
        with torch.device("meta"):
            generator = cls(**trained.generator.arguments)
        generator.load_state_dict(trained.generator.state_dict(), assign=True)
        generator.metadata = trained.metadata
        return generator.eval()

    def generate_model_card(self, *args: Any, **kwargs: Any) -> ModelCard:
        return ModelCard(model_card(self.arguments, self.metadata))

    def _save_pretrained(self, save_directory: Path) -> None:
        file = save_directory / "model.safetensors"
        write_artifact(file, self.state_dict(), Generator.__name__, self.arguments, self.metadata)

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls, pretrained_model_name_or_path: str | Path, *, map_location: str = "cpu", **download: Any
    ) -> Self:
        """Load a generator that `save_pretrained` wrote.

        The mixin's own method would build any network that config.json describes. It would ignore the metadata, and
        also missing or superfluous tensors. Here the artifact defines the network, and config.json must agree.

        Args:
            pretrained_model_name_or_path: a folder, or a name on the Hub.
            map_location: the device.
            **download: options of `huggingface_hub.hf_hub_download`, such as `revision` or `token`.

        Raises:
            UserError: see `from_weights`; or a file cannot be downloaded, or config.json cannot be read or describes
                another network.
        """
        name = str(pretrained_model_name_or_path)
        generator = cls.from_weights(_find(name, constants.SAFETENSORS_SINGLE_FILE, download))
        _check_config(_find(name, constants.CONFIG_NAME, download), generator.arguments)
        return generator.to(map_location)


def _find(name: str, file: str, download: dict[str, Any]) -> Path:
    """Return a file of a local folder, or download it from the Hub."""
    if Path(name).is_dir():
        return Path(name, file)
    try:
        return Path(hf_hub_download(repo_id=name, filename=file, **download))
    except (OSError, ValueError) as error:  # errors of the connection or the Hub, or an invalid name
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"{name} is not a folder, and {file} of a model with that name cannot be downloaded from the Hub: {reason}"
        ) from error


def _check_config(path: Path, arguments: dict[str, Any]) -> None:
    """Raise UserError unless config.json describes the network in the artifact."""
    again = "write the folder again with save_pretrained"
    try:
        if not path.is_file() or path.stat().st_size > MAX_BYTES:
            raise ValueError("no such file, or too long")
        config = json.loads(path.read_bytes())
        if not isinstance(config, dict):
            raise ValueError("not a JSON object")
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read ({error}): {again}.") from error
    theirs = {key: config.get(key) for key in arguments}
    if theirs != arguments:
        shown = str(theirs)[:300]
        raise UserError(f"{path.parent} holds a generator with {arguments}, but its config.json has {shown}: {again}.")
