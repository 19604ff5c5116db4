"""Rules that detect silent faults of GAN training from a few numbers, and advise what to change."""

from collections.abc import Iterator
from typing import NamedTuple

#: The discriminator wins where the running means of D(HR) and D(SR) are above this and below 1 minus it.
D_WINS = 0.95
#: Share of the measurements of the last `patience` updates at which it wins, before a warning.
WINNING_SHARE = 0.8
#: Share of its norm by which an update changes a network. Adam at rates that work stays between 1e-4 and 1e-2.
EXPLODING = 0.3
#: One loss term's gradient over the sum of all the others'.
DOMINATES = 1000.0
#: The perceptual term's gradient over the sum of all the others': less trains nothing.
NEGLIGIBLE = 1e-4
#: SR's energy at the frequencies of the LR grid over HR's.
GRID = 1.15
#: Levels of 255 between the mean colours of SR and LR.
TINT = 2.0


class Fault(NamedTuple):
    """A fault found now: its name, the updates that it must last before it is reported, and the message."""

    name: str
    patience: int
    words: str


def network_faults(rates: dict[str, float], updates: dict[str, float], interval: int) -> Iterator[Fault]:
    """A network that does not learn, or too fast.

    Args:
        rates: learning rate by network.
        updates: norm of an update over that of the weights, by network.
        interval: patience with what a single update may show by chance.
    """
    for name, rate in rates.items():
        setting, ratio = f"model.{name}_optimizer.lr", updates[name]
        if rate == 0:
            words = f"the {name}'s learning rate is 0: it learns nothing. Look at {setting} and model.{name}_scheduler."
            yield Fault(f"{name} rate", 0, words)
        elif ratio == 0:
            words = (
                f"the {name} has not moved: its update-to-weight ratio is 0 at a learning rate of {rate:g}. It is "
                f"frozen, its optimiser (model.{name}_optimizer) is not stepped or holds other weights, or no gradient "
                "comes back to it."
            )
            yield Fault(f"{name} still", interval, words)
        elif ratio > EXPLODING:
            words = (
                f"the {name} is exploding: one update changes its weights by {ratio:.0%} of their norm (0.01% to 1% is "
                f"usual). Lower {setting}, now {rate:g}. Or let it rise slowly (scheduler@model.{name}_scheduler="
                f"warmup_cosine), or clip gradients (model.{name}_clip=1; for model=srresnet "
                "trainer.gradient_clip_val=1)."
            )
            yield Fault(f"{name} exploding", interval, words)


def discriminator_wins(real: float, fake: float) -> bool:
    """Whether running means of D(HR) and D(SR), the sigmoids of the logits, are those of a discriminator that wins."""
    return real >= D_WINS and fake <= 1 - D_WINS


def discriminator_faults(real: float, fake: float, share: float, patience: int) -> Iterator[Fault]:
    """A discriminator that has won.

    Args:
        real: running mean of D(HR), the sigmoid of the logits.
        fake: running mean of D(SR).
        share: share of the measurements of the last `patience` updates at which the discriminator won.
        patience: updates.
    """
    if share >= WINNING_SHARE:
        words = (
            f"the discriminator wins: D(real)={real:.2f}, D(fake)={fake:.2f} on average, and so for {share:.0%} of the "
            f"last {patience} updates (from {D_WINS:.2f} and {1 - D_WINS:.2f} on it counts as winning). The generator "
            "learns little from it. Lower its learning rate (model.discriminator_optimizer.lr), start the generator "
            "from stage one (model.init_from), let the term's weight rise slowly (loss.adversarial_ramp), smooth the "
            "labels (loss.label_smoothing=0.1), bound its slope (model/discriminator=unet, or loss.r1=2.5), augment "
            "what it sees of a few hundred photos (model.discriminator_augment=[color,translation,cutout]), or pause "
            "it while it wins (callbacks.balance.pause_above=0.9)."
        )
        yield Fault("discriminator wins", 0, words)


def term_faults(gradients: dict[str, float], interval: int) -> Iterator[Fault]:
    """A loss term without effect, or without any other beside it.

    Args:
        gradients: norm of the gradient that the weighted term sends into SR, by term.
        interval: patience with what a single batch may show by chance.
    """
    for name, norm in gradients.items():
        others = sum(gradients.values()) - norm
        if norm == 0:
            words = (
                f"the {name} term sends no gradient to the generator: it is cut from the graph (detach, no_grad), or "
                f"its gradient vanishes. Mend the loss, or leave the term out with loss.{name}=0."
            )
            if name == "adversarial":
                words += " The sigmoid of a sure discriminator has no gradient: use loss.adversarial_kind=bce."
            yield Fault(f"{name} silent", 0, words)
        elif norm > DOMINATES * others > 0:
            words = (
                f"the {name} term swamps all others: its gradient is {norm / others:.0f} times theirs together. Lower "
                f"loss.{name}, or leave the others out."
            )
            if name == "perceptual":
                words += " VGG19 files differ in scale: set loss.vgg.normalize=true."
            if name == "adversarial":
                words += " Let its weight rise slowly: loss.adversarial_ramp."
            yield Fault(f"{name} swamps", interval, words)
        elif name == "perceptual" and norm < NEGLIGIBLE * others:
            words = (
                f"the perceptual term is next to nothing: its gradient is {norm / others:.0e} of the others' together. "
                "VGG19 files differ in scale: set loss.vgg.normalize=true, or raise loss.perceptual."
            )
            yield Fault("perceptual faint", interval, words)


def picture_faults(colour_shift: float, grids: tuple[float, float] | None) -> Iterator[Fault]:
    """What the pictures of a validation show.

    Args:
        colour_shift: see `ColourShift`.
        grids: `GridEnergy` of SR and of HR; None where too few images were measured.
    """
    if grids is not None and grids[0] > GRID * grids[1]:
        words = (
            f"SR has a grid: at the frequencies of the LR grid its energy is {grids[0]:.2f} times that around them, "
            f"HR's {grids[1]:.2f} times. Look at plain ground in samples/. Set loss.grid=400 or more, lower "
            "loss.perceptual and loss.adversarial, or start a new training with model.generator.icnr=true."
        )
        yield Fault("grid", 0, words)
    if colour_shift > TINT:
        words = (
            f"SR has other colours than LR: their means differ by {colour_shift:.1f} of 255 levels. Raise loss.pixel, "
            "or lower loss.perceptual and loss.adversarial; where LR is given, look whether HR has its colours."
        )
        yield Fault("colour shift", 0, words)
