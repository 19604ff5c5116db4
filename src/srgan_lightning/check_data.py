"""`python -m srgan_lightning.check_data`: check a data set before training."""

import json
import time
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from srgan_lightning.cli.hydra_command import entry_point
from srgan_lightning.utils.files import write_text


def check_data(cfg: DictConfig) -> dict[str, Any]:
    """Check the data set of a composed configuration, and print the findings.

    Args:
        cfg: the configuration of `conf/check_data.yaml` with its groups.

    Returns:
        The content of the `json=` file.

    Raises:
        UserError: the data are missing, an option is invalid, or this kind of data set has no files to check.
    """
    # Imported here, so that --help does not wait for torch.
    from srgan_lightning.tools.data_check.checkup import check_dataset
    from srgan_lightning.tools.data_check.report import as_json, print_report

    started = time.perf_counter()
    data = instantiate(cfg.data, degradation=instantiate(cfg.degradation))
    columns = (TextColumn("check"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("left"))
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("check", total=None)
        items, findings = check_dataset(
            data, cfg.workers, lambda done, all_: bar.update(task, completed=done, total=all_)
        )
    report = as_json(items, findings, time.perf_counter() - started)
    print_report(Console(), report)
    if cfg.json is not None:
        write_text(cfg.json, json.dumps(report, indent=2) + "\n")
    if cfg.preview is not None:
        from torchvision.utils import save_image

        from srgan_lightning.tools.data_check.preview import preview

        Path(cfg.preview).parent.mkdir(parents=True, exist_ok=True)
        save_image(preview(data, cfg.preview_images), cfg.preview)
    return report


@entry_point("check_data")
def main(cfg: DictConfig) -> None:
    if check_data(cfg)["errors"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
