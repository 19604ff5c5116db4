"""Drawing tools for synthetic faces: colours, tones, strokes, and a canvas in units of the face."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Array = NDArray[Any]
Rgb = tuple[int, int, int]

INK, WHITE = (24, 14, 12), (255, 250, 244)


def mix(a: Sequence[float], b: Sequence[float], t: float) -> Rgb:
    red, green, blue = (x + (y - x) * t for x, y in zip(a, b, strict=True))
    return max(0, min(255, int(red))), max(0, min(255, int(green))), max(0, min(255, int(blue)))


def pick(rng: np.random.Generator, palette: Sequence[Rgb]) -> Rgb:
    """Pick a random colour between two neighbours of a palette."""
    i = int(rng.integers(len(palette) - 1))
    return mix(palette[i], palette[i + 1], rng.random())


def noise(rng: np.random.Generator, rows: int, columns: int, width: int, height: int) -> Array:
    image = Image.fromarray(rng.standard_normal((rows, columns), dtype=np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))


def ramp(tone: Array, colour: Rgb, dark: float, bright: float) -> Image.Image:
    """Colour a tone in [0, 1]: 0.5 gives `colour`, shadows stay warm, and lights tend to white."""
    grey = Image.fromarray((np.clip(tone, 0, 1) * 255).astype(np.uint8))
    knots = zip(mix(colour, (24, 6, 0), dark), colour, mix(colour, WHITE, bright), strict=True)
    table = np.concatenate([np.interp(np.arange(256), (0, 127, 255), channel) for channel in knots])
    return Image.merge("RGB", (grey, grey, grey)).point(table.astype(int).tolist())


def shades(a: Rgb, b: Rgb, t: Array) -> list[Rgb]:
    """Mix many colours at once, one per stroke."""
    return [(r, g, b) for r, g, b in np.clip(a + np.subtract(b, a) * t[:, None], 0, 255).astype(int).tolist()]


def path(u: Any, v: Any) -> Array:
    return np.stack(np.broadcast_arrays(u, v), axis=-1)


def ring(u: float, v: float, ru: float, rv: float, power: float = 1.0) -> Array:
    """Trace a closed ellipse; a smaller power makes it squarer."""
    a = np.linspace(0, 2 * np.pi, 25)
    c, s = np.cos(a), np.sin(a)
    return path(u + ru * np.sign(c) * np.abs(c) ** power, v + rv * np.sign(s) * np.abs(s) ** power)


@dataclass
class Portrait:
    """A picture in progress.

    Points are (u, v) in local units: 1 is half the width of the face, v points down, and the eyes are at v = 0.

    Args:
        rng: the picture's random generator.
        image: the picture.
        centre: (x, y) of the local origin in pixels.
        scale: pixels per local unit.
        tilt: rotation of the head in radians.
        yaw: sideways shift of the features by a turn of the head, in local units.
        light: where the light comes from, negative for left and positive for right.
        skin: colour of the skin.
        hair: colour of the hair.
        style: hairstyle, such as long, curly or bald.
        feminine: whether the person has feminine features and clothes.
    """

    rng: np.random.Generator
    image: Image.Image
    centre: tuple[float, float]
    scale: float
    tilt: float
    yaw: float
    light: float
    skin: Rgb
    hair: Rgb
    style: str
    feminine: bool

    def pixels(self, points: Array) -> Array:
        c, s = np.cos(self.tilt), np.sin(self.tilt)
        turned = points @ np.array([[c, s], [-s, c]])
        return np.asarray(turned * self.scale + np.array(self.centre))

    def grid(self) -> tuple[Array, Array]:
        """Return the local coordinates of every pixel."""
        x, y = ((np.arange(n, dtype=np.float32) - np.float32(o)) / np.float32(self.scale)
                for n, o in zip(self.image.size, self.centre, strict=True))  # fmt: skip
        c, s = np.float32(np.cos(self.tilt)), np.float32(np.sin(self.tilt))
        return x * c + y[:, None] * s, y[:, None] * c - x * s

    def mask(self, points: Array) -> Image.Image:
        mask = Image.new("L", self.image.size)
        ImageDraw.Draw(mask).polygon(self.pixels(points).ravel().tolist(), fill=255)
        return mask

    def fill(self, points: Array, colour: Rgb) -> None:
        ImageDraw.Draw(self.image).polygon(self.pixels(points).ravel().tolist(), fill=colour)

    def lines(self, points: Array, colours: Rgb | list[Rgb], width: float = 0.0) -> None:
        """Draw one (K, 2) or many (N, K, 2) polylines; `width` is in local units, and drawn as at least a pixel."""
        points = self.pixels(points if points.ndim == 3 else points[None])
        draw, thick = ImageDraw.Draw(self.image), max(1, round(width * self.scale))
        fills = colours if isinstance(colours, list) else [colours] * len(points)
        for line, colour in zip(points.reshape(len(points), -1).tolist(), fills, strict=True):
            draw.line(line, fill=colour, width=thick)
