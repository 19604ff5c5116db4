"""Save a workspace and a report for GANs in W&B: python docs/make_wandb_workspace.py --entity NAME

The workspace is a new view of the project. The report is a draft: the same panels for all runs, grouped by an option.
Needs `pip install wandb-workspaces` and `wandb login`.
"""

import argparse

import wandb_workspaces.reports.v2 as wr
import wandb_workspaces.workspaces as ws

STEP = "trainer/global_step"  # generator updates
NAME = "SRGAN"


def lines(title: str, *names: str, **options: object) -> wr.LinePlot:
    """Return one panel of curves against generator updates."""
    return wr.LinePlot(title=title, x=STEP, y=list(names), **options)


def images(*names: str) -> wr.MediaBrowser:
    """Return a panel of images with a slider for the step."""
    return wr.MediaBrowser(title=", ".join(names), media_keys=list(names), num_columns=4)


def panels() -> dict[str, list]:
    """Return the panels of each section, from top to bottom."""
    return {
        "Images": [images("samples/SR"), images("samples/LR"), images("samples/bicubic"), images("samples/HR")],
        "Scores": [
            lines("PSNR-Y, dB", "val/psnr_y", "val/bicubic_psnr_y"),
            lines("SSIM-Y", "val/ssim_y", "val/bicubic_ssim_y"),
            lines("Distance of patch statistics", "val/swd", "val/bicubic_swd"),
            lines("Energy at the LR grid's frequencies", "val/grid", "val/hr_grid"),
        ],
        "Discriminator": [
            lines("D(real) and D(fake)", "discriminator/d_real", "discriminator/d_fake", range_y=(0, 1)),
            lines("Loss of the discriminator", "loss/discriminator"),
        ],
        "Balance of the terms": [
            wr.LinePlot(title="Gradient of each term", x=STEP, metric_regex="health/gradient_.*", log_y=True)
        ],
        "Updates": [
            wr.LinePlot(title="Size of an update", x=STEP, metric_regex="health/update_.*", log_y=True),
            wr.LinePlot(title="Learning rates", x=STEP, metric_regex="lr/.*"),
        ],
        "At the end": [wr.WeavePanelSummaryTable(table_name="samples/table")],
    }


def make_workspace(entity: str, project: str) -> ws.Workspace:
    sections = [ws.Section(name=name, panels=each, is_open=True) for name, each in panels().items()]
    return ws.Workspace(entity=entity, project=project, name=NAME, sections=sections)


def make_report(entity: str, project: str, group: str) -> wr.Report:
    blocks: list = []
    for name, each in panels().items():
        runs = wr.Runset(entity=entity, project=project, groupby=[f"config.{group}"])
        blocks += [wr.H2(name), wr.PanelGrid(runsets=[runs], panels=each)]
    return wr.Report(entity=entity, project=project, title=f"{NAME}, by {group}", blocks=blocks)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entity", required=True, help="your user or team")
    parser.add_argument("--project", default="srgan-lightning", help="as in logger.wandb.project")
    parser.add_argument("--group", default="loss.adversarial", help="option that the runs of the report are grouped by")
    options = parser.parse_args()
    print(make_workspace(options.entity, options.project).save().url)
    print(make_report(options.entity, options.project, options.group).save(draft=True).url)


if __name__ == "__main__":
    main()
