"""Which of the two networks learns from a batch, and which is updated after it."""

from typing import NamedTuple

from srgan_lightning.utils.errors import UserError


class Turn(NamedTuple):
    """What one batch is for."""

    discriminator_learns: bool
    discriminator_updates: bool  #: after this batch, where it learns
    generator_learns: bool
    generator_updates: bool


class Turns:
    """Counts the batches of a generator update: first those of further discriminator updates, then those of both.

    Args:
        batches: whose gradients are averaged into one update, of either network.
        discriminator_updates: updates of the discriminator for one of the generator, each from batches of its own.
        discriminator_interval: generator updates from one with the discriminator's to the next.

    Raises:
        UserError: a number below 1, or both options of the discriminator above it.
    """

    def __init__(self, batches: int, discriminator_updates: int = 1, discriminator_interval: int = 1) -> None:
        options = f"model.discriminator_updates={discriminator_updates}, model.discriminator_interval="
        options += f"{discriminator_interval}"
        if discriminator_updates < 1 or discriminator_interval < 1:
            raise UserError(f"{options}: give whole numbers from 1.")
        if discriminator_updates > 1 and discriminator_interval > 1:
            raise UserError(f"{options}: one is for more updates of the discriminator, one for fewer. Leave one at 1.")
        self.batches, self.updates, self.interval = batches, discriminator_updates, discriminator_interval
        self.taken = 0  #: batches since the last generator update; a checkpoint holds it

    def take(self, updates: int, discriminator_trains: bool) -> Turn:
        """The turn of the next batch.

        Args:
            updates: of the generator so far.
            discriminator_trains: whether there is an adversarial term and the discriminator is not paused; the same for
                all batches of one generator update.
        """
        learns = discriminator_trains and (updates + 1) % self.interval == 0  # so that logged updates have it
        further = (self.updates - 1 if learns else 0) * self.batches
        self.taken += 1
        return Turn(
            discriminator_learns=learns,
            discriminator_updates=learns and self.taken % self.batches == 0,
            generator_learns=self.taken > further,
            generator_updates=self.taken >= further + self.batches,
        )
