"""Procedural portraits, so that training and tests run without a download.

Each portrait is a head-and-shoulders crop like CelebA's. It is drawn at twice its size and averaged down, so that edges
are antialiased like a camera's. The details have structure that a network can learn: strands of hair that follow a
flow, woven patterns, lashes, lids, teeth and glints.
"""

import numpy as np
import torch
from PIL import Image, ImageFilter

from srgan_lightning.data.synthetic.canvas import INK, WHITE, Portrait, mix, noise, path, pick, ramp, ring, shades
from srgan_lightning.data.synthetic.scenery import CLOTHS, PLACES, background, fabric

SKINS = ((240, 204, 184), (230, 188, 162), (214, 165, 134), (184, 132, 100), (146, 99, 75), (110, 75, 58))
HAIRS = ((36, 32, 32), (58, 43, 36), (90, 62, 46), (128, 78, 52), (168, 130, 88),
         (205, 176, 134), (158, 156, 152))  # fmt: skip
IRISES = ((52, 34, 26), (84, 56, 36), (66, 44, 32), (96, 66, 40), (92, 104, 76), (88, 114, 140))
# Bumps of the face's height map: u, v, width, height, lift, in local units. Bumps with u > 0 are mirrored.
BUMPS = ((0.0, 0.12, 0.10, 0.30, 0.08), (0.0, 0.47, 0.14, 0.11, 0.14), (0.16, 0.53, 0.07, 0.07, 0.05),
         (0.42, 0.0, 0.21, 0.12, -0.1), (0.4, -0.22, 0.24, 0.07, 0.03), (0.56, 0.42, 0.2, 0.2, 0.06),
         (0.0, 0.8, 0.22, 0.1, 0.05), (0.0, 1.01, 0.16, 0.05, -0.04), (0.0, 1.16, 0.2, 0.11, 0.06),
         (0.33, 0.66, 0.05, 0.13, -0.025), (0.42, 0.02, 0.15, 0.07, 0.04))  # fmt: skip


def _body(p: Portrait) -> None:
    """Draw neck and shoulders with the shadow of the chin, a garment and sometimes a shirt collar."""
    u, v = (g[::4, ::4] for g in p.grid())  # the light on skin is smooth, so a quarter of the size is enough
    neck, wide, low = (0.5, 2.1, 1.75) if p.feminine else (0.64, 2.5, 1.7)
    tone = 0.46 + 0.12 * p.light * u - 0.4 * np.exp(-(((v - 1.1) / 0.4) ** 2)) * np.exp(-(u * u * u * u))
    tone += 0.04 * np.exp(-(((np.abs(u) - 0.28 + (v - 1.4) * 0.2) / 0.06) ** 2))
    side = np.array([[neck, 0.6], [neck, 1.35], [neck + 0.14, low - 0.12], [wide * 0.6, low + 0.14],
                     [wide * 0.9, low + 0.5], [wide, 4.5]])  # fmt: skip
    skin = ramp(tone, p.skin, 0.85, 0.6).resize(p.image.size, Image.Resampling.BICUBIC)
    p.image.paste(skin, mask=p.mask(np.concatenate([side, side[::-1] * (-1, 1)])))
    t = np.linspace(-1, 1, 15)
    drop, power = p.rng.uniform(0.05, 0.9), p.rng.uniform(1, 2.5)
    neckline = path(t * (neck + 0.13), low - 0.12 + drop * (1 - np.abs(t) ** power))
    side = side[2:] + (0.03, -0.04)
    (w, h), mask = p.image.size, p.mask(np.concatenate([side, side[::-1] * (-1, 1), neckline]))
    p.image.paste(fabric(p.rng, w, h - h // 2), (0, h // 2), mask.crop((0, h // 2, w, h)))
    p.lines(neckline, mix(pick(p.rng, CLOTHS), INK, 0.3), 0.06)
    if not p.feminine and p.rng.random() < 0.6:
        shirt = mix(pick(p.rng, PLACES), WHITE, 0.7)
        for s in (-1, 1):
            flap = np.array([[neck, 1.45], [neck + 0.2, 1.7], [0.42, 2.25], [0.03, 1.95]]) * (s, 1)
            p.fill(flap, mix(shirt, INK, 0.12 - 0.12 * s * p.light))
            p.lines(flap[1:], mix(shirt, INK, 0.5), 0.03)


def _face(p: Portrait) -> None:
    """Draw ears, and skin lit by its height map, with gloss, blush, pores and freckles."""
    rng, (w, h) = p.rng, p.image.size
    axis = np.linspace(-1.6, 1.6, 96, dtype=np.float32)
    down = axis[:, None]
    bumps = np.array([(s * b[0], *b[1:]) for b in BUMPS for s in (-1, 1)[b[0] == 0 :]], np.float32)
    u0, v0, su, sv, lift = bumps.T[:, :, None]
    relief = (np.exp(-(((down.T - v0) / sv) ** 2)) * lift).T @ np.exp(-(((axis - p.yaw - u0) / su) ** 2))
    relief += 0.9 * np.sqrt(np.maximum(1 - (axis / 1.12) ** 2 - ((down - 0.05) / 1.6) ** 2, 0.02))
    gv, gu = np.gradient(relief, axis[1] - axis[0])
    lambert = 0.9 - 0.25 * abs(p.light) - gu * p.light * 0.7 + gv * 0.3
    lambert = np.maximum(lambert, 0.05) / np.sqrt(gu**2 + gv**2 + 1)
    blush = np.exp(-(((np.abs(axis - p.yaw) - 0.58) / 0.25) ** 2) - ((down - 0.45) / 0.2) ** 2)
    fields = (0.1 + 0.5 * lambert + 0.14 * lambert**14, blush * rng.uniform(0, 0.16))
    k = 95 / 3.2
    c, s = np.cos(p.tilt) * k / p.scale, np.sin(p.tilt) * k / p.scale
    (x, y), o = p.centre, 1.6 * k
    turn = (c, s, o - c * x - s * y, -s, c, o + s * x - c * y)  # from the picture to the local grid
    how = (Image.Transform.AFFINE, turn, Image.Resampling.BILINEAR)
    shade, red = (np.asarray(Image.fromarray(f.astype(np.float32)).transform((w, h), *how)) for f in fields)
    skin = ramp(shade + noise(rng, h // 3, w // 3, w, h) * 0.009, p.skin, 0.86, 0.75)
    dark = mix(p.skin, INK, 0.45)
    for s in (-1, 1):
        glow = mix(p.skin, (90, 20, 10), 0.3 - 0.15 * s * p.light)
        p.fill(ring(s * 0.98 + p.yaw * 0.3, 0.22, 0.15, 0.27), glow)
        p.lines(ring(s * 1.0 + p.yaw * 0.3, 0.2, 0.08, 0.18), dark)
    oval = ring(0, 0.02, 1, 1.28, rng.uniform(0.75, 1.0))
    oval[:, 0] *= 1 - rng.uniform(0.12, 0.28) * np.maximum(oval[:, 1], 0) ** 2 / 1.64
    mask = p.mask(oval)
    p.image.paste(skin, mask=mask)
    p.image.paste(mix(p.skin, (190, 50, 40), 0.6), mask=Image.fromarray((mask * red).astype(np.uint8)))
    if rng.random() < 0.3:
        spots = rng.normal((0, 0.35), (0.42, 0.2), (60, 1, 2)) + np.array([[0, 0], [0.025, 0.01]])
        p.lines(spots, shades(p.skin, (90, 40, 20), rng.uniform(0.2, 0.5, 60)))


def _eyes(p: Portrait) -> None:
    """Draw almond eyes with radial fibres, a catch-light, lids and lashes, and brows made of hairs."""
    rng, t = p.rng, np.linspace(-1, 1, 13)
    wide, tall, slant, gaze = rng.uniform((0.19, 0.07, -0.02, -0.05), (0.23, 0.115, 0.04, 0.05))
    arch, thick = rng.uniform(0.02, 0.09), rng.uniform(0.03, 0.05) * (1.0 if p.feminine else 1.5)
    iris, shadow, crease = pick(rng, IRISES), mix(p.skin, pick(rng, CLOTHS), 0.4), mix(p.skin, INK, 0.55)
    for s in (-1, 1):
        mid = np.array([s * 0.42 + p.yaw, 0.0])
        upper = path(t * wide, -tall * (1 - t**2) ** 0.8 - slant * t * s) + mid
        lower = path(t * wide, tall * 0.72 * (1 - t**2) - slant * t * s) + mid
        if p.feminine:
            p.fill(np.concatenate([upper, upper[::-1] - (0, 0.075)]), shadow)
        skin, opening = p.image, p.mask(np.concatenate([upper, lower[::-1]]))
        p.image = skin.copy()  # the eyeball is drawn whole, then pasted through the opening of the lids
        u, v = mid + (gaze, -0.012)
        p.fill(ring(u, v, 0.3, 0.2), (228, 220, 215))
        p.fill(ring(u, v, 0.108, 0.108), mix(iris, (0, 0, 0), 0.6))
        p.fill(ring(u, v, 0.092, 0.092), iris)
        fibres = np.stack([ring(u, v, 0.05, 0.05), ring(u, v, 0.088, 0.088)], axis=1)
        p.lines(fibres, shades(iris, (255, 240, 200), rng.uniform(0, 0.5, 25)))
        p.fill(ring(u, v, 0.048, 0.048), (12, 9, 9))
        p.lines(upper + (0, 0.025), (80, 56, 50), 0.045)
        p.fill(ring(u + 0.04 * np.sign(p.light), v - 0.04, 0.024, 0.024), (255, 255, 255))
        skin.paste(p.image, mask=opening)
        p.image = skin
        p.lines(upper, INK, 0.05 if p.feminine else 0.03)
        p.lines(lower, crease)
        p.lines((upper - mid) * (1.02, 1.1) + mid - (0, 0.06), crease)
        tips = upper + path(t * 0.05, -0.045 - 0.02 * t * s) * (1.3 if p.feminine else 0.7)
        p.lines(np.stack([upper, tips], axis=1), INK)
        q, r = rng.uniform(0, 1, 70), rng.uniform(-1, 1, 70)
        brow = r * thick * (1.1 - 0.8 * q) - 0.25 - arch * np.sin(q * 2.2 + 0.3)
        root = path(s * (0.16 + 0.52 * q) + p.yaw, brow)
        hairs = np.stack([root, root + path(s * (0.03 + 0.05 * q), -0.05 + 0.07 * q)], axis=1)
        p.lines(hairs, shades(mix(p.hair, INK, 0.35), p.skin, rng.uniform(0, 0.45, 70)), 0.022)


def _mouth(p: Portrait) -> None:
    """Draw nostrils, lips with creases and a shine, and teeth if the mouth is open."""
    rng, m, t = p.rng, p.yaw, np.linspace(-1, 1, 21)
    for s in (-1, 1):
        p.fill(ring(s * 0.09 + m, 0.58, 0.055, 0.022), mix(p.skin, (50, 10, 5), 0.7))
        p.lines(ring(s * 0.14 + m, 0.535, 0.075, 0.075)[0 if s > 0 else 7 :][:6], mix(p.skin, INK, 0.35))
    wide, smile, gap = rng.uniform(0.3, 0.42), rng.uniform(-0.02, 0.09), max(0.0, rng.uniform(-0.1, 0.1))
    arc = 1 - t**2
    curve = 0.8 - smile * t**2
    top, bottom = curve - gap * 0.3 * arc, curve + gap * arc + 0.008
    bow = top - rng.uniform(0.05, 0.08) * arc**0.7 * (1 - 0.3 * np.exp(-((t / 0.16) ** 2)))
    under = bottom + rng.uniform(0.07, 0.11) * arc**0.8
    red = (rng.uniform(150, 210), rng.uniform(40, 100), rng.uniform(50, 95))
    lip = mix(p.skin, red, rng.uniform(0.45, 0.8)) if p.feminine else mix(p.skin, (185, 105, 95), 0.45)
    u = t * wide + m
    p.fill(np.concatenate([path(u, bow), path(u, under)[::-1]]), lip)
    p.fill(np.concatenate([path(u, bow), path(u, top)[::-1]]), mix(lip, (60, 10, 15), 0.28))
    creases = np.stack([path(u, bottom + 0.01), path(u * 0.97, under - 0.015)], axis=1)
    p.lines(creases, [mix(lip, (90, 20, 25) if i % 2 else WHITE, 0.2) for i in range(21)])
    shine = path(t * 0.1 + m + 0.06 * np.sign(p.light), (bottom[10] + under[10]) / 2)
    p.lines(shine, mix(lip, WHITE, 0.45), 0.03)
    p.fill(np.concatenate([path(u, top), path(u, bottom)[::-1]]), (70, 22, 22))
    if gap > 0.02:
        edge = top + (bottom - top) * 0.8
        p.fill(np.concatenate([path(u, top), path(u, edge)[::-1]])[3:-3], (238, 232, 222))
        p.lines(np.stack([path(u, top), path(u, edge)], axis=1)[4:17:2], (180, 165, 155))


def _beard(p: Portrait) -> None:
    """Draw short hairs over jaw, cheeks and upper lip."""
    n, length = int(p.rng.choice([300, 700])), p.rng.uniform(0.05, 0.1)
    u, v = p.rng.uniform((-0.98, 0.6), (0.98, 1.3), (n, 2)).T
    jaw = v > 0.75 + 0.2 * np.cos(u * 3.5) - np.maximum(np.abs(u) - 0.6, 0)
    jaw &= (u / 0.4) ** 2 + ((v - 0.86) / 0.15) ** 2 > 1
    keep = (u**2 + (v / 1.3) ** 2 < 1) & (jaw | ((np.abs(u) < 0.38) & (v < 0.74)))
    root = path(u + p.yaw, v)[keep]
    tip = root + path(u[keep] * 0.3 + p.rng.normal(0, 0.25, len(root)), 1.0) * length
    fills = shades(p.hair, p.skin, p.rng.uniform(0.1, 0.6, len(root)))
    p.lines(np.stack([root, tip], axis=1), fills)


def _hair(p: Portrait) -> tuple[Image.Image, Image.Image, Image.Image]:
    """Return the hair's colours over the whole frame, its mask in front of the face, and its mask behind the face.

    Strands follow the lines of a flow. The flow falls in parabolas from the parting, or fans out from the tip of the
    nose if the hair is combed back or very short. All strands come from one random texture, which varies fast across
    the flow and slowly along it.
    """
    rng, (u, v) = p.rng, p.grid()
    part, length, hairline = rng.uniform((-0.5, 0.8, -0.95), (0.5, 3.2, -0.72)).tolist()
    warp = noise(rng, 8, 8, *p.image.size)
    if p.style in ("slick", "buzz"):
        across, along = np.arctan2(u - p.yaw, 0.6 - v), -v
    else:
        across, along = (u - part) / np.sqrt(np.maximum(v + 1.6, 0.03)), v
    wave = {"curly": 0.13, "long": 0.05}.get(p.style, 0.015) * rng.uniform(0.4, 1)
    across = across + wave * np.sin(v * rng.uniform(5, 9) + warp * 1.2 + u * 2) + 0.012 * warp
    if p.style == "curly":
        across += wave * np.sin(u * 13 + warp * 2) * np.cos(v * 11 + warp)
    profile = noise(rng, 10, 512, 512, 128)
    row = (along * 30).astype(np.int32) & 127
    widths = (7.0, p.scale * 0.17, p.scale * 0.42)
    lock, wisp, strand = (profile[row, (across * f + 900).astype(np.int32) & 511] for f in widths)
    if p.style == "buzz":
        lock, wisp = strand * 0.2, strand * 0.2
    rough = 0.03 * wisp + 0.02 * lock + 0.01 * strand
    gloss = np.exp(-(((v + 0.85 + 0.25 * u * u + 2.5 * rough) / 0.22) ** 2))
    tone = 0.42 + 0.045 * strand + 0.06 * wisp + 0.05 * lock + gloss * 0.2 + 0.12 * p.light * u
    swell = {"curly": 0.3, "buzz": 0.01, "slick": 0.06}.get(p.style, 0.14)
    behind = (u / (1.02 + swell)) ** 2 + ((v + 0.05) / (1.32 + swell)) ** 2 < 1 + 1.5 * rough
    side = np.abs(u - p.yaw * 0.4) - 0.93 - rough
    top = hairline + 0.2 * (u - part * 0.5) ** 2 + rough
    if p.style == "bangs":
        top = 1.5 * rough - 0.36 + 0.1 * u * part
    front = (v < top) | (side + 0.15 * np.maximum(v - 0.5, 0) > 0)
    if p.style in ("long", "bangs"):
        fall = np.abs(u) < 1.18 + 0.2 * np.sin(np.clip(v + 0.3, 0, 2.2)) + 1.5 * rough
        behind = np.where(v < 0, behind, fall & (v < length + 4 * rough))
    else:
        behind &= v < (0.85 - 0.3 * warp if p.style == "curly" else 0.1) + 2 * rough
    cover = np.uint8({"buzz": 150, "bald": 0}.get(p.style, 255))
    colours = ramp(tone, p.hair, 0.8, 0.6)
    return colours, Image.fromarray((front & behind) * cover), Image.fromarray(behind * cover)


def _flyaways(p: Portrait) -> None:
    """Draw single hairs outside the hair's outline, so that the outline is not too clean."""
    swell = {"curly": 0.3, "slick": 0.06}.get(p.style, 0.13)
    a, lift, turn = p.rng.uniform((-1.5, -0.04, 0.1), (1.5, 0.08, 0.5), (60, 3)).T[..., None]
    q = np.linspace(0, 1, 6)
    a, r = a + np.sign(a) * q * turn, 1 + q * lift
    hairs = path(np.sin(a) * (1.02 + swell) * r, -0.05 - np.cos(a) * (1.32 + swell) * r)
    if p.style in ("long", "bangs"):
        fall, a = p.rng.uniform(0, 1, (30, 1)) + q, a[:30]
        hairs[:30] = path((1.1 + 3 * lift[:30] + 0.05 * np.sin(fall * 4 + a)) * np.sign(a), fall)
    p.lines(hairs, shades(p.hair, WHITE, p.rng.uniform(-0.2, 0.3, 60)))


def _extras(p: Portrait) -> None:
    """Draw glasses and earrings, each only on some faces."""
    rng = p.rng
    power, thick, drop, size = rng.uniform((0.45, 0.03, 0.05, 0.03), (1.0, 0.07, 0.3, 0.06))
    frame, metal = mix(pick(rng, HAIRS), INK, 0.4), mix((235, 195, 105), (225, 225, 230), rng.random())
    glasses, earrings = rng.random() < 0.18, p.feminine and rng.random() < 0.5
    for s in (-1, 1):
        if glasses:
            p.lines(ring(s * 0.43 + p.yaw, 0.03, 0.34, 0.25, power), frame, thick)
            p.lines(np.array([[s * 0.77 + p.yaw, -0.04], [s + p.yaw * 0.3, -0.02]]), frame, thick)
            p.lines(np.array([[p.yaw, -0.04], [s * 0.1 + p.yaw, 0.0]]), frame, thick)
            p.lines(np.array([[0.12, -0.12], [0.2, -0.02]]) + (s * 0.43 + p.yaw, 0), WHITE, 0.03)
        if earrings:
            u = s * 1.02 + p.yaw * 0.3
            p.lines(np.array([[u, 0.48], [u, 0.48 + drop]]), metal, 0.02)
            p.fill(ring(u, 0.48 + drop, size, size), metal)
            p.lines(ring(u, 0.48 + drop, size, size), mix(metal, INK, 0.6))
            p.fill(ring(u - size * 0.3, 0.48 + drop - size * 0.3, size * 0.3, size * 0.3), WHITE)


def _person(rng: np.random.Generator, width: int, height: int) -> Portrait:
    """Choose a person's looks, place and light at random, and draw the background."""
    u, feminine, depth = min(width, height), bool(rng.random() < 0.55), rng.random() ** 1.4
    styles = "long long bangs slick curly" if feminine else "short short slick buzz bald curly"
    skin = mix(pick(rng, SKINS[(i := int(depth * 4.99)) : i + 2]), pick(rng, SKINS), 0.1)
    hair = HAIRS[-1] if rng.random() < 0.1 else pick(rng, HAIRS[: 6 - int(depth * 4.5)])
    x, y, scale, light = rng.uniform((-0.04, 0.44, 0.22, -0.8), (0.04, 0.52, 0.285, 0.8)).tolist()
    tilt, yaw = rng.normal(0, 0.09), rng.uniform(-0.12, 0.12)
    image, centre = background(rng, width, height), (width / 2 + u * x, height * y)
    style = str(rng.choice(styles.split()))
    return Portrait(rng, image, centre, u * scale, tilt, yaw, light, skin, hair, style, feminine)


def draw_face(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Draw one portrait, (height, width, 3) in 8-bit RGB."""
    p = _person(rng, 2 * width, 2 * height)
    hair, front, behind = _hair(p)
    if p.style in ("long", "bangs", "curly"):  # in other styles the hair ends above the neck
        p.image.paste(hair.point(lambda x: x * 0.6), mask=behind)
    _body(p)
    _face(p)
    _eyes(p)
    _mouth(p)
    if not p.feminine and rng.random() < 0.45:
        _beard(p)
    shadow = front.filter(ImageFilter.BoxBlur(p.scale * 0.12)).point(lambda x: x * 0.5)
    p.image.paste((30, 12, 8), mask=shadow)
    p.image.paste(hair, mask=front)
    if p.style not in ("bald", "buzz"):
        _flyaways(p)
    _extras(p)
    picture = np.asarray(p.image.reduce(2), dtype=np.float32) * rng.normal(1, 0.02, 3).astype(np.float32)
    grain = rng.standard_normal(picture.shape, dtype=np.float32) * np.float32(1.2)
    return np.clip(picture + grain + np.float32(0.5), 0, 255).astype(np.uint8)


class SyntheticFaces:
    """Drawn portraits; each depends only on the seed, its index and the size."""

    def __init__(self, count: int, size: int | tuple[int, int] = 128, seed: int = 0) -> None:
        """Set the number of portraits and their side, or (height, width), in pixels."""
        self.count, self.seed = count, seed
        self.size = (size, size) if isinstance(size, int) else size

    def __len__(self) -> int:
        return self.count

    def name(self, index: int) -> str:
        """Return a picture's name, like a file name of a real data set."""
        if not 0 <= index < self.count:
            raise IndexError(f"picture {index} of {self.count}")
        return f"face_{index:06d}"

    def read(self, index: int) -> torch.Tensor:
        """Draw a picture as (3, height, width) in 8-bit RGB."""
        if not 0 <= index < self.count:
            raise IndexError(f"picture {index} of {self.count}")
        picture = draw_face(np.random.default_rng((self.seed, index)), *self.size)
        return torch.from_numpy(picture).permute(2, 0, 1).contiguous()
