"""Rules that detect silent problems of GAN training from a few numbers, with advice."""

from collections.abc import Iterator
from typing import NamedTuple

#: The discriminator wins if the running mean of D(HR) is at least this, and that of D(SR) is at most 1 minus this.
D_WINS = 0.95
#: A warning is given if the discriminator wins in at least this share of the measurements of `patience` updates.
WINNING_SHARE = 0.8
#: Largest norm of the change in one generator update, relative to the norm of the weights, without a warning. Adam with
#: usable learning rates gives 1e-4 to 1e-2.
EXPLODING = 0.3
#: Largest gradient of a loss term relative to the sum of all others, without a warning.
DOMINATES = 1000.0
#: Smallest gradient of the perceptual term relative to the sum of all others; below it, the term has no effect.
NEGLIGIBLE = 1e-4
#: Largest ratio of SR's `GridEnergy` to that of HR, or to the 1.0 of natural photos if HR has less, without a warning.
#: A grid of 1.3 is not visible at four times zoom.
GRID = 1.35
#: Largest difference between the mean colours of SR and LR without a warning, in levels of 255.
TINT = 2.0


class Fault(NamedTuple):
    """A detected fault: its name, the number of updates that it must last before it is reported, and the message."""

    name: str
    patience: int
    words: str


def network_faults(rates: dict[str, float], updates: dict[str, float], interval: int) -> Iterator[Fault]:
    """Yield faults of networks that do not learn, or learn too fast.

    Args:
        rates: learning rate by network.
        updates: norm of the change in one generator update divided by that of the weights, by network.
        interval: patience in updates, for faults that can occur in a single update by chance.
    """
    for name, rate in rates.items():
        setting, ratio = f"model.{name}_optimizer.lr", updates[name]
        if rate == 0:
            words = f"the {name}'s learning rate is 0: it learns nothing. Check {setting} and model.{name}_scheduler."
            yield Fault(f"{name} rate", 0, words)
        elif ratio == 0:
            words = (
                f"the {name} has not moved: its update-to-weight ratio is 0 at a learning rate of {rate:g}. It is "
                f"frozen, its optimiser (model.{name}_optimizer) is not stepped or does not hold its weights, or it "
                "receives no gradient."
            )
            yield Fault(f"{name} still", interval, words)
        elif ratio > EXPLODING:
            words = (
                f"the {name} is exploding: its weights change by {ratio:.0%} of their norm in one generator update "
                f"(0.01% to 1% is usual). Lower {setting}, now {rate:g}. Or use warm-up "
                f"(scheduler@model.{name}_scheduler=warmup_cosine), or clip gradients (model.{name}_clip=1; "
                "for model=srresnet trainer.gradient_clip_val=1)."
            )
            yield Fault(f"{name} exploding", interval, words)


def discriminator_wins(real: float, fake: float) -> bool:
    """Check whether the discriminator wins.

    Args:
        real: running mean of D(HR), the sigmoid of the logits.
        fake: running mean of D(SR).
    """
    return real >= D_WINS and fake <= 1 - D_WINS


def discriminator_faults(real: float, fake: float, share: float, patience: int) -> Iterator[Fault]:
    """Yield the fault of a discriminator that wins.

    Args:
        real: running mean of D(HR), the sigmoid of the logits.
        fake: running mean of D(SR).
        share: share of the measurements at which the discriminator won, in the last `patience` updates.
        patience: number of updates in which `share` was measured.
    """
    if share >= WINNING_SHARE:
        words = (
            f"the discriminator wins: D(real)={real:.2f}, D(fake)={fake:.2f} on average, and it won in {share:.0%} of "
            f"the last {patience} updates (winning means D(real) of at least {D_WINS:.2f} and D(fake) of at most "
            f"{1 - D_WINS:.2f}). The generator learns little from it. Lower its learning rate "
            "(model.discriminator_optimizer.lr), start the generator from stage one (model.init_from), ramp up the "
            "adversarial weight (loss.adversarial_ramp), smooth the labels (loss.label_smoothing=0.1), limit its "
            "gradient (model/discriminator=unet, or loss.r1=2.5), augment its input if you have only a few hundred "
            "photos (model.discriminator_augment=[color,translation,cutout]), or pause it while it wins "
            "(callbacks.balance.pause_above=0.9)."
        )
        yield Fault("discriminator wins", 0, words)


def term_faults(gradients: dict[str, float], adversarial_kind: str, normalized: bool, interval: int) -> Iterator[Fault]:
    """Yield faults of loss terms that have no effect, or that dominate all others.

    Args:
        gradients: norm of each weighted term's gradient with respect to SR.
        adversarial_kind: see `AdversarialLoss`.
        normalized: whether VGG's features are normalised already, see `PerceptualLoss`.
        interval: patience in updates, for faults that can occur in a single batch by chance.
    """
    for name, norm in gradients.items():
        others = sum(gradients.values()) - norm
        if norm == 0:
            words = (
                f"the {name} term sends no gradient to the generator: it is cut from the graph (detach, no_grad), or "
                f"its gradient vanishes. Fix the loss, or turn the term off with loss.{name}=0."
            )
            if name == "adversarial" and adversarial_kind == "linear":
                words += " The sigmoid of a confident discriminator has no gradient: use loss.adversarial_kind=bce."
            yield Fault(f"{name} silent", 0, words)
        elif norm > DOMINATES * others > 0:
            words = (
                f"the {name} term dominates all others: its gradient is {norm / others:.0f} times the sum of theirs. "
                f"Lower loss.{name}, or turn the others off."
            )
            if name == "perceptual" and not normalized:
                words += " VGG19 files differ in scale: set loss.vgg.normalize=true."
            if name == "adversarial":
                words += " Ramp up its weight with loss.adversarial_ramp."
            yield Fault(f"{name} swamps", interval, words)
        elif name == "perceptual" and norm < NEGLIGIBLE * others:
            words = f"the perceptual term is negligible: its gradient is {norm / others:.0e} of the sum of the others. "
            if normalized:
                words += "Raise loss.perceptual."
            else:
                words += "VGG19 files differ in scale: set loss.vgg.normalize=true, or raise loss.perceptual."
            yield Fault("perceptual faint", interval, words)


def picture_faults(colour_shift: float, grids: tuple[float, float] | None) -> Iterator[Fault]:
    """Yield faults that the pictures of a validation show.

    Args:
        colour_shift: see `ColourShift`.
        grids: `GridEnergy` of SR and of HR; None if too few images were measured.
    """
    if grids is not None and grids[0] > GRID * max(grids[1], 1.0):
        words = (
            f"SR has a grid: its energy at the frequencies of the LR grid is {grids[0]:.2f} times that at "
            f"neighbouring frequencies (in HR {grids[1]:.2f} times). Look at flat regions in samples/. Set "
            "loss.grid=400 or more, lower loss.perceptual and loss.adversarial, or start a new training with "
            "model.generator.icnr=true."
        )
        yield Fault("grid", 0, words)
    if colour_shift > TINT:
        words = (
            f"SR has other colours than LR: their means differ by {colour_shift:.1f} of 255 levels. Raise loss.pixel, "
            "or lower loss.perceptual and loss.adversarial. If you provide LR files, check that HR has the same "
            "colours."
        )
        yield Fault("colour shift", 0, words)
