"""Decide which of the two networks learns from a batch, and which is updated after it."""

from typing import NamedTuple

from srgan_lightning.utils.errors import UserError


class Turn(NamedTuple):
    """The networks that learn from one batch, and those that are updated after it.

    A network that learns gets gradients from the batch. A network that is updated also gets a step of its optimiser.
    """

    discriminator_learns: bool
    discriminator_updates: bool
    generator_learns: bool
    generator_updates: bool


class Turns:
    """The order of batches in a generator update.

    The first batches are for extra discriminator updates, if any, and the last ones for both networks.

    Args:
        batches: number of batches whose gradients are averaged for one update of a network.
        discriminator_updates: discriminator updates per generator update, each with different batches.
        discriminator_interval: generator updates per discriminator update.

    Raises:
        UserError: a number is below 1, or both discriminator options are above 1.
    """

    def __init__(self, batches: int, discriminator_updates: int = 1, discriminator_interval: int = 1) -> None:
        options = f"model.discriminator_updates={discriminator_updates}, model.discriminator_interval="
        options += f"{discriminator_interval}"
        if discriminator_updates < 1 or discriminator_interval < 1:
            raise UserError(f"{options}: give whole numbers from 1.")
        if discriminator_updates > 1 and discriminator_interval > 1:
            raise UserError(
                f"{options}: the first is for more discriminator updates, the second for fewer. Set one of them to 1."
            )
        self.batches, self.updates, self.interval = batches, discriminator_updates, discriminator_interval
        self.taken = 0  #: batches since the last generator update; saved in checkpoints

    def take(self, updates: int, discriminator_trains: bool) -> Turn:
        """Return the turn of the next batch.

        Args:
            updates: number of generator updates so far.
            discriminator_trains: whether there is an adversarial term and the discriminator is not paused; the same for
                all batches of one generator update.
        """
        # The discriminator learns in every `interval`-th generator update, counted from 1 as for `log_every_n_steps`.
        learns = discriminator_trains and (updates + 1) % self.interval == 0
        further = (self.updates - 1 if learns else 0) * self.batches
        self.taken += 1
        return Turn(
            discriminator_learns=learns,
            discriminator_updates=learns and self.taken % self.batches == 0,
            generator_learns=self.taken > further,
            generator_updates=self.taken >= further + self.batches,
        )
