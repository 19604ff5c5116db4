"""Register the generator with spandrel, the library that chaiNNer, ComfyUI and others use to load models."""

from srgan_lightning.artifacts.artifact import SKIP_MARKER
from srgan_lightning.networks import Generator
from srgan_lightning.utils.optional import needs_extra

with needs_extra("spandrel"):
    from spandrel import MAIN_REGISTRY, Architecture, ArchSupport, ImageModelDescriptor, StateDict
    from spandrel.util import KeyCondition, get_seq_len


class GeneratorArch(Architecture[Generator]):  # type: ignore[misc]  # Any where the package is absent
    """An architecture that recognises an artifact by its tensors, and derives the generator's arguments from them."""

    def __init__(self) -> None:
        super().__init__(
            id="srgan-lightning",
            name="SRGAN Lightning",
            detect=KeyCondition.has_all(
                "head.0.weight",
                "head.1.weight",  # PReLU
                KeyCondition.has_any("trunk.0.body.2.weight", "trunk.0.weight"),  # the second if there are 0 blocks
                "upsampler.0.weight",
                "upsampler.2.weight",  # PReLU
                "tail.weight",
            ),
        )

    def load(self, state_dict: StateDict) -> ImageModelDescriptor[Generator]:
        channels = len(state_dict["head.0.weight"])
        blocks = get_seq_len(state_dict, "trunk") - 2  # without the last convolution and its BatchNorm
        scale = 2 ** (get_seq_len(state_dict, "upsampler") // 3)  # convolution, PixelShuffle, PReLU per factor of 2
        # Spandrel passes no metadata, and the skip has no weights: the artifact has a marker tensor for it.
        skips = [name.removeprefix(SKIP_MARKER) for name in state_dict if name.startswith(SKIP_MARKER)]
        generator = Generator(channels, blocks, scale, *skips)
        return ImageModelDescriptor(
            generator,
            {name: tensor for name, tensor in state_dict.items() if not name.startswith(SKIP_MARKER)},
            architecture=self,
            purpose="SR",
            tags=[f"{channels}nf", f"{blocks}nb"],
            supports_half=True,
            supports_bfloat16=True,
            scale=scale,
            input_channels=3,
            output_channels=3,
            call_fn=lambda model, lr: model(lr).to(lr.dtype),  # the bicubic skip computes in float32
        )


def install() -> None:
    """Add the architecture to spandrel's main registry, which every `ModelLoader` uses; repeated calls do nothing."""
    MAIN_REGISTRY.add(ArchSupport.from_architecture(GeneratorArch()), ignore_duplicates=True)
