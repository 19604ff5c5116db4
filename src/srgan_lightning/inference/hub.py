"""A generator as a folder in the layout of the Hugging Face Hub: config.json, model.safetensors, README.md."""

from pathlib import Path
from typing import Any, Self

from srgan_lightning.errors import UserError
from srgan_lightning.inference.artifact import write_artifact
from srgan_lightning.inference.extras import needs_extra
from srgan_lightning.inference.load import load_trained
from srgan_lightning.inference.model_card import model_card
from srgan_lightning.networks import Generator

with needs_extra("hub"):
    from huggingface_hub import ModelCard, PyTorchModelHubMixin


class HubGenerator(Generator, PyTorchModelHubMixin):  # type: ignore[misc]  # Any where the package is absent
    """A `Generator` with the Hub's methods.

    `save_pretrained(folder)` writes the generator's arguments, its artifact and a model card; `from_pretrained(folder)`
    builds it again, in eval mode. Both work offline; `push_to_hub(name)` and `from_pretrained(name)` do not.
    """

    #: What the artifact says beside the arguments: recipe, data, scores. Written again on saving.
    about: dict[str, Any]

    def __init__(self, channels: int = 64, blocks: int = 16, scale: int = 4, global_skip: str = "none") -> None:
        super().__init__(channels, blocks, scale, global_skip)
        self.about = {}

    @classmethod
    def from_weights(cls, weights: str | Path) -> Self:
        """Take over what `weights` mean: an artifact, a checkpoint, or the name of a bundled model.

        Raises:
            UserError: as `load_trained`.
        """
        trained = load_trained(weights)
        generator = cls(**trained.generator.arguments)
        generator.load_state_dict(trained.generator.state_dict())
        generator.about = trained.about
        return generator.eval()

    def generate_model_card(self, *args: Any, **kwargs: Any) -> ModelCard:
        return ModelCard(model_card(self.arguments, self.about))

    def _save_pretrained(self, save_directory: Path) -> None:
        file = save_directory / "model.safetensors"
        write_artifact(file, self.state_dict(), Generator.__name__, self.arguments, self.about)

    @classmethod
    def _load_as_safetensor(  # type: ignore[override]
        cls, model: Self, model_file: str, map_location: str, strict: bool
    ) -> Self:
        # The mixin's own would ignore metadata, and tensors that are missing or superfluous.
        trained = load_trained(model_file)
        if trained.generator.arguments != model.arguments:
            raise UserError(
                f"{model_file} holds a generator of {trained.generator.arguments}, the config.json beside it says "
                f"{model.arguments}: write the folder again with save_pretrained."
            )
        model.load_state_dict(trained.generator.state_dict())
        model.about = trained.about
        return model.to(map_location).eval()
