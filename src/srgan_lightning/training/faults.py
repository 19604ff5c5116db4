"""The silent faults of a GAN's training, each told from a few numbers and put into words that can be acted on."""

from collections.abc import Iterator
from typing import NamedTuple

#: The discriminator has won with D(HR) above this and D(SR) below 1 minus it: its loss is as good as 0.
WON = 0.99
#: Share of its norm by which an update changes a network. Adam at rates that work stays between 1e-4 and 1e-2.
EXPLODING = 0.3
#: One loss term's gradient over the sum of all the others'.
SWAMPED = 1000.0
#: The perceptual term's gradient over the sum of all the others': less trains nothing.
FAINT = 1e-4


class Fault(NamedTuple):
    """One that is there now: a name, the updates that it must last before it is said, and the words."""

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
                "frozen, its optimiser is not stepped or holds other weights, or no gradient comes back to it."
            )
            yield Fault(f"{name} still", interval, words)
        elif ratio > EXPLODING:
            words = (
                f"the {name} is exploding: one update changes its weights by {ratio:.0%} of their norm (0.01% to 1% is "
                f"usual). Lower {setting}, now {rate:g}."
            )
            yield Fault(f"{name} exploding", interval, words)


def game_faults(real: float, fake: float, patience: int) -> Iterator[Fault]:
    """A game that is over.

    Args:
        real: mean D(HR), the sigmoid of the logits.
        fake: mean D(SR).
        patience: updates for which the discriminator may win.
    """
    if real >= WON and fake <= 1 - WON:
        words = (
            f"the discriminator wins: D(real)={real:.2f}, D(fake)={fake:.2f} for {patience} updates, so that the "
            "generator learns little from it. Lower its learning rate (model.discriminator_optimizer.lr), or start "
            "the generator from stage one (model.init_from)."
        )
        yield Fault("discriminator wins", patience, words)


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
            yield Fault(f"{name} silent", 0, words)
        elif norm > SWAMPED * others > 0:
            words = (
                f"the {name} term swamps all others: its gradient is {norm / others:.0f} times theirs together. Lower "
                f"loss.{name}, or leave the others out."
            )
            if name == "perceptual":
                words += " VGG19 files differ in the scale of their features: see Troubles in the README."
            yield Fault(f"{name} swamps", interval, words)
        elif name == "perceptual" and norm < FAINT * others:
            words = (
                f"the perceptual term is next to nothing: its gradient is {norm / others:.0e} of the others' together. "
                "VGG19 files differ in the scale of their features (see Troubles in the README): raise loss.perceptual."
            )
            yield Fault("perceptual faint", interval, words)
