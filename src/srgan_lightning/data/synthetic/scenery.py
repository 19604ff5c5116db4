"""Backgrounds and clothes of synthetic faces."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from srgan_lightning.data.synthetic.canvas import mix, noise, pick, ramp

CLOTHS = ((40, 44, 62), (150, 40, 44), (196, 188, 176), (52, 92, 110), (34, 34, 36), (170, 120, 126))
PLACES = ((196, 190, 182), (58, 62, 74), (150, 132, 112), (84, 100, 84), (120, 146, 170), (225, 220, 214))


def background(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    """Draw an out-of-focus background: a plain gradient, lamps, a lettered press wall or slats."""
    w, h, u = width // 2, height // 2, min(width, height) / 2
    base, other = pick(rng, PLACES), pick(rng, PLACES)
    image = ramp(0.56 + 0.2 * noise(rng, 4, 4, w, h) + 0.03 * noise(rng, 12, 12, w, h), base, 0.5, 0.5)
    draw, kind, step = ImageDraw.Draw(image), rng.integers(4), u * rng.uniform(0.09, 0.2)
    for i, j in np.ndindex(round(w / step) + 1, round(h / step) + 1):
        x, y, r = i * step, j * step, step * 0.3
        if kind == 1 and rng.random() < 0.15:
            (x, y), r = rng.uniform(0, (w, h)), u * rng.uniform(0.02, 0.09)
            draw.ellipse((x - r, y - r, x + r, y + r), fill=mix(other, (255, 214, 150), rng.random()))
        elif kind == 2 and j % 2 and (i + j // 2) % 5:
            a = int(rng.integers(4)) * 90
            draw.arc((x - r, y - r, x + r, y + r), a, a + int(rng.integers(120, 360)), fill=other, width=2)
            draw.line((x - r, y - r, x + r * (a % 180 - 90) / 90, y + r), fill=other, width=2)
        elif kind == 3 and j == 0:
            draw.rectangle((x, 0, x + step * 0.5, h), fill=mix(base, other, rng.random() * 0.8))
    if kind:
        image = image.filter(ImageFilter.GaussianBlur(u * rng.uniform(0.001, 0.016)))
    return image.resize((width, height), Image.Resampling.BICUBIC)


def fabric(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    """Draw cloth with a pattern whose period is a few pixels, distorted by folds."""
    fold = noise(rng, 3, 7, width, height)
    a, period = rng.uniform(-0.4, 0.4), np.float32(rng.uniform(8, 22))
    c, s = np.float32(np.cos(a)), np.float32(np.sin(a))
    x, y = np.arange(width, dtype=np.float32) / period, np.arange(height, dtype=np.float32)[:, None] / period
    x, y = x * c - y * s + fold * 0.4, x * s + y * c + fold * 0.4
    i, j = np.floor(x), np.floor(y)
    p, q = x - i, y - j
    kind = rng.integers(5)
    if kind == 0:  # stripes
        pattern = (q < 0.45) * 0.4
    elif kind == 1:  # plaid
        pattern = (p < 0.4) * 0.2 + (q < 0.4) * 0.2 - (np.abs(p - 0.7) < 0.06) * 0.15
    elif kind == 2:  # knitted chevrons
        pattern = np.abs((y + np.abs(p - 0.5) * 1.2) % 1 - 0.5) * 0.5 - (np.abs(p - 0.5) > 0.4) * 0.15
    elif kind == 3:  # basket weave
        pattern = np.where((i + j) % 2 > 0, np.abs(p * 3 % 1 - 0.5), np.abs(q * 3 % 1 - 0.5)) * 0.3
    else:  # plain twill
        pattern = np.abs((x + y) * 3 % 1 - 0.5) * 0.06
    shade = 0.38 + fold * 0.08 + np.diff(fold, axis=1, append=0) * np.float32(width / 500)
    return ramp(shade + pattern, pick(rng, CLOTHS), 0.75, 0.8)
