"""`upscale` on every kind of image: mode, bits, alpha, profile and EXIF."""

import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from srgan_lightning import load_generator, upscale_image
from srgan_lightning.imaging.picture import Picture, from_pil
from srgan_lightning.inference.upscaling import TiledUpscaler
from tests.helpers.generators import tiny_artifact
from tests.helpers.pictures import GENERATOR, SRGB, read_png16, smooth, upscale, write_png16


@pytest.fixture
def weights(tmp_path: Path) -> str:
    return str(tiny_artifact(tmp_path, global_skip="bicubic"))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".bmp"])
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "1"])
def test_formats_and_modes(tmp_path: Path, weights: str, mode: str, suffix: str) -> None:
    """Sizes are odd, grey stays grey, palettes become RGB, and the result resembles the input."""
    if suffix in (".jpg", ".webp") and mode in ("P", "1"):
        pytest.skip("the format has no such mode")
    smooth(mode).save(tmp_path / f"photo{suffix}")
    assert upscale(tmp_path / f"photo{suffix}", "-o", tmp_path / "out", "--weights", weights) == 0
    with Image.open(tmp_path / f"out/photo_x4{suffix}") as result:
        assert result.size == (92, 68)
        grey = mode in ("L", "1") and suffix != ".webp"  # WebP has no grey
        assert result.mode == ("L" if grey else "RGB")
        assert result.format == Image.registered_extensions()[suffix]


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P", "1", "CMYK", "YCbCr", "I;16"])
def test_the_result_resembles_the_image(mode: str) -> None:
    image = Image.fromarray(np.array(smooth("L")).astype(np.uint16) * 257) if mode == "I;16" else smooth(mode)
    result = upscale_image(image, GENERATOR, device="cpu")
    assert result.mode == {"P": "RGB", "1": "L", "CMYK": "RGB", "YCbCr": "RGB"}.get(mode, mode)
    both = [result, image]
    if mode == "I;16":
        both = [Image.fromarray((np.array(deep) // 257).astype(np.uint8)) for deep in both]
    # Averages over blocks as large as the image's structures remove the dithering of P and 1.
    coarse = [np.array(each.convert("L").resize((6, 4), Image.Resampling.BOX)).astype(float) for each in both]
    differing = np.abs(coarse[0] - coarse[1]).mean()
    turned = np.abs(coarse[0] - coarse[1][::-1, ::-1]).mean()
    assert differing < 30, turned
    assert differing < turned / 2


def test_alpha_is_bicubic_unless_asked_otherwise(tmp_path: Path, weights: str) -> None:
    image = smooth("RGBA")
    image.save(tmp_path / "photo.png")
    for choice in ("bicubic", "generator", "drop"):
        assert upscale(tmp_path / "photo.png", "-o", tmp_path / choice, "--weights", weights, "--alpha", choice) == 0
    bicubic, generator, drop = (
        Image.open(tmp_path / choice / "photo_x4.png") for choice in ("bicubic", "generator", "drop")
    )
    assert (bicubic.mode, generator.mode, drop.mode) == ("RGBA", "RGBA", "RGB")
    reference = np.array(image.getchannel("A").resize((92, 68), Image.Resampling.BICUBIC)).astype(int)
    assert np.abs(np.array(bicubic.getchannel("A")) - reference).max() <= 2
    assert np.abs(np.array(generator.getchannel("A")) - reference).max() > 2
    assert bicubic.convert("RGB").tobytes() == drop.tobytes()  # the colours do not depend on alpha


def test_transparent_palettes_and_formats_without_alpha(
    tmp_path: Path, weights: str, capsys: pytest.CaptureFixture[str]
) -> None:
    smooth("P").save(tmp_path / "photo.png", transparency=3)
    out = tmp_path / "out"
    assert upscale(tmp_path / "photo.png", "-o", out, "--weights", weights) == 0
    assert Image.open(out / "photo_x4.png").mode == "RGBA"
    capsys.readouterr()
    assert upscale(tmp_path / "photo.png", "-o", out, "--weights", weights, "--format", "jpg") == 0
    assert Image.open(out / "photo_x4.jpg").mode == "RGB"
    assert "alpha channel is left out" in capsys.readouterr().err


def test_16_bit_pictures_are_not_convolved_in_tf32(weights: str) -> None:
    """float16's 11 bits are enough for 8-bit pictures. The GPU's precision is set on the CPU here."""
    upscaler, seen = TiledUpscaler(load_generator(weights)), []

    def look(*_: object) -> None:
        seen.append((torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()))

    upscaler.generator.head.register_forward_hook(look)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("high")
        for kind in (np.uint8, np.uint16):
            upscaler.upscale(Picture(np.zeros((8, 8, 3), kind)))
            look()
    finally:
        torch.set_float32_matmul_precision(before)
    assert seen == [(True, "high"), (True, "high"), (False, "highest"), (True, "high")]


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bit_png_stays_16_bit(tmp_path: Path, weights: str, channels: int) -> None:
    low = np.random.default_rng(0).integers(0, 65536, (5, 7, channels), dtype=np.uint16)
    pixels = np.kron(low, np.ones((4, 4, 1), np.uint16))
    write_png16(tmp_path / "deep.png", pixels)
    assert upscale(tmp_path / "deep.png", "-o", tmp_path / "out", "--weights", weights) == 0
    result = read_png16(tmp_path / "out/deep_x4.png")
    assert result.shape == (80, 112, channels)
    assert len(np.unique(result)) > 2000  # not 8 bits stretched
    # The file is what `upscale` computes, and other decoders agree.
    colour, alpha = (pixels[..., :-1], pixels[..., -1:]) if channels in (2, 4) else (pixels, None)
    expected = TiledUpscaler(load_generator(weights)).upscale(Picture(colour, alpha)).stacked()
    assert (result == expected).all()
    eight = np.array(Image.open(tmp_path / "out/deep_x4.png").convert("RGBA" if channels == 4 else "RGB"))
    if channels >= 3:
        assert np.abs(eight.astype(int) - (expected >> 8)).max() <= 1


def test_16_bit_png_with_orientation_profile_and_exif(tmp_path: Path, weights: str) -> None:
    """Extra chunks are accepted, and the picture is rotated as PIL rotates its 8-bit version."""
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    pixels = np.kron(np.arange(12, dtype=np.uint16).reshape(3, 4, 1) * 5000, np.ones((6, 6, 3), np.uint16))
    icc = (b"iCCP", b"x\0\0" + zlib.compress(SRGB))
    for orientation in range(1, 9):
        exif[0x0112] = orientation
        write_png16(
            tmp_path / f"deep{orientation}.png", pixels, icc, (b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))
        )
    assert upscale(tmp_path / "deep*.png", "-o", tmp_path / "out", "--weights", weights) == 0
    for orientation in range(1, 9):
        result = read_png16(tmp_path / f"out/deep{orientation}_x4.png")
        with Image.open(tmp_path / f"deep{orientation}.png") as original:
            upright = from_pil(original).colour.astype(float)
        with Image.open(tmp_path / f"out/deep{orientation}_x4.png") as image:
            assert image.info["icc_profile"] == SRGB
            assert dict(image.getexif()) == {0x010F: "Maker"}
        small = result.reshape(upright.shape[0], 4, upright.shape[1], 4, 3).mean(axis=(1, 3)) / 257
        assert np.abs(small - upright).mean() < 40


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_exif_orientation_and_profile(tmp_path: Path, weights: str, suffix: str) -> None:
    """The pixels are rotated once, and the orientation tag is removed. Other tags and the profile stay."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Maker"
    exif.get_ifd(0x8769).update({0xA002: 23, 0xA003: 17, 0x9003: "2020:01:01 00:00:00"})
    image = smooth()
    image.save(tmp_path / f"photo{suffix}", exif=exif.tobytes(), icc_profile=SRGB)
    assert upscale(tmp_path / f"photo{suffix}", "-o", tmp_path / "out", "--weights", weights) == 0
    with Image.open(tmp_path / f"out/photo_x4{suffix}") as result:
        assert result.size == (68, 92)
        tags = result.getexif()
        assert tags.get(0x0112, 1) == 1
        assert tags[0x010F] == "Maker"
        details = tags.get_ifd(0x8769)
        assert details[0x9003] == "2020:01:01 00:00:00"
        assert not {0xA002, 0xA003} & details.keys()
        assert result.info["icc_profile"] == SRGB
        upright = np.array(image.transpose(Image.Transpose.ROTATE_270).convert("L")).astype(float)
        small = np.array(result.convert("L").resize((17, 23), Image.Resampling.BOX))
        assert np.abs(small - upright).mean() < 30


@pytest.mark.parametrize("form", ["png", "jpg", "webp", "tif"])
def test_metadata_across_formats(tmp_path: Path, weights: str, form: str) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9003] = "2020:01:01 00:00:00"
    exif[0x8769], exif[0x010F] = exif.get_ifd(0x8769), "Maker"
    for suffix in ("jpg", "tif"):
        smooth().save(tmp_path / f"photo.{suffix}", exif=exif.tobytes(), icc_profile=SRGB)
        out = tmp_path / f"from_{suffix}"
        assert upscale(tmp_path / f"photo.{suffix}", "-o", out, "--weights", weights, "--format", form) == 0
        with Image.open(out / f"photo_x4.{form}") as result:
            assert result.size == (92, 68)
            assert result.info["icc_profile"] == SRGB
            assert result.getexif()[0x010F] == "Maker"
            assert result.getexif().get_ifd(0x8769)[0x9003] == "2020:01:01 00:00:00"


def test_cmyk_becomes_rgb_and_is_reported(tmp_path: Path, weights: str, capsys: pytest.CaptureFixture[str]) -> None:
    smooth("CMYK").save(tmp_path / "print.jpg", icc_profile=SRGB)  # a profile that is not for CMYK
    assert upscale(tmp_path / "print.jpg", "-o", tmp_path / "out", "--weights", weights) == 0
    assert "CMYK is converted to RGB" in capsys.readouterr().err
    with Image.open(tmp_path / "out/print_x4.jpg") as result:
        assert result.mode == "RGB"
        assert "icc_profile" not in result.info


def test_16_bits_into_8_bit_formats(tmp_path: Path, weights: str, capsys: pytest.CaptureFixture[str]) -> None:
    pixels = np.full((8, 8, 3), 40000, np.uint16)
    write_png16(tmp_path / "deep.png", pixels)
    assert upscale(tmp_path / "deep.png", "-o", tmp_path / "out", "--weights", weights, "--format", "webp") == 0
    assert Image.open(tmp_path / "out/deep_x4.webp").mode == "RGB"
    assert "16 bits are rounded to 8 for WEBP" in capsys.readouterr().err


def test_16_bit_grey_tiff(tmp_path: Path, weights: str) -> None:
    Image.fromarray(np.arange(300, dtype=np.uint16).reshape(15, 20) * 200).save(tmp_path / "grey.tif")
    assert upscale(tmp_path / "grey.tif", "-o", tmp_path / "out", "--weights", weights) == 0
    assert Image.open(tmp_path / "out/grey_x4.tif").mode == "I;16"


def test_floating_point_is_refused(tmp_path: Path, weights: str, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("F", (8, 8)).save(tmp_path / "float.tif")
    assert upscale(tmp_path / "float.tif", "-o", tmp_path / "out", "--weights", weights) == 1
    assert "mode F cannot be upscaled" in capsys.readouterr().err
