"""`check_data preview=FILE`: a picture of a data set's degraded images."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from PIL import Image

from srgan_lightning.check_data import check_data
from srgan_lightning.cli.config import config_dir
from srgan_lightning.data.synthetic.faces import SyntheticFaces


@pytest.mark.parametrize("degradation", ["bicubic", "mixed", "faces", "real"])
def test_the_sheet_has_hr_and_five_lr_in_a_row(tmp_path: Path, degradation: str) -> None:
    for split in ("train", "val"):
        (tmp_path / split).mkdir()
        for index in range(3):
            pixels = SyntheticFaces(3, (96, 96)).read(index).permute(1, 2, 0).numpy()
            Image.fromarray(pixels).save(tmp_path / split / f"{index}.png")
    sheet = tmp_path / "new" / "sheet.png"
    folders = [f"data.{split}_dir={tmp_path / split}" for split in ("train", "val")]
    with initialize_config_dir(version_base="1.3", config_dir=str(config_dir())):
        options = ["data.crop=64", f"degradation={degradation}", f"preview={sheet}", "preview_images=2"]
        check_data(compose("check_data", ["data=folder", *folders, *options]))
    side = 64 * 4  # enlarged to about 288
    image = Image.open(sheet)
    assert image.width == 6 * (side + 4) + 4
    assert 2 * side < image.height < 2 * side + 150
