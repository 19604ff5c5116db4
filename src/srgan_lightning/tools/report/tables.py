"""Make the table of a sweep, and name its best checkpoints."""

import csv
import io
from typing import Any

from srgan_lightning.metrics.score_format import format_score
from srgan_lightning.metrics.tables import TITLES
from srgan_lightning.runs.reading import Run
from srgan_lightning.tools.report.pareto import compromise, pareto_front
from srgan_lightning.tools.report.perception import Perception
from srgan_lightning.utils.markdown import markdown_table

#: Scores of `summary.json` by the title of their column in the table.
SCORES = {TITLES[name]: name for name in ("psnr_y", "ssim_y")}
HEAD = ["run", "settings", *SCORES, "perception", "Pareto", "state"]
#: Indices of the columns that contain text, and so are aligned left.
LEFT = (0, 1, 5, 6)


def front_of(runs: list[Run], perception: Perception) -> list[Run]:
    """Return those of the given finished runs that are on their Pareto front with bicubic, by descending PSNR-Y."""
    if not runs:
        return []
    # Bicubic comes first, so that a run that only equals it is left out.
    points = [(runs[0].summary["bicubic_psnr_y"], perception.distances["bicubic"])]
    points += [(run.summary["psnr_y"], perception.distances[run.name]) for run in runs]
    return [runs[i - 1] for i in pareto_front(points) if i > 0]


def table(runs: list[Run], perception: Perception | None) -> list[dict[str, Any]]:
    """Return a row for each run and, if any is finished, one for bicubic; scores are numbers."""
    finished = [run for run in runs if run.finished]
    rows: list[dict[str, Any]] = []
    if perception is not None:
        baseline = {name: finished[0].summary[f"bicubic_{name}"] for name in SCORES.values()}
        rows.append({"run": "bicubic", **_scores(baseline), "perception": perception.distances["bicubic"]})
    front = front_of(finished, perception) if perception is not None else []
    for run in runs:
        row: dict[str, Any] = {"run": run.name, "settings": run.label, "state": run.state}
        if perception is not None and run.finished:
            row |= {**_scores(run.summary), "perception": perception.distances[run.name]}
            row["Pareto"] = "yes" if run in front else "no"
        rows.append(row)
    return rows


def _scores(values: dict[str, Any]) -> dict[str, Any]:
    return {title: values[name] for title, name in SCORES.items()}


def cells(row: dict[str, Any]) -> list[str]:
    """Format a row as text."""
    return [_text(key, row.get(key, "")) for key in HEAD]


def _text(key: str, value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.4g}" if key == "perception" else format_score(SCORES[key], value)


def to_markdown(rows: list[dict[str, Any]]) -> str:
    """Format the table as Markdown."""
    return markdown_table(HEAD, [*map(cells, rows)], left=LEFT) + "\n"


def to_csv(rows: list[dict[str, Any]]) -> str:
    """Format the table as CSV, with all digits."""
    text = io.StringIO()
    writer = csv.DictWriter(text, HEAD, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def best_for(runs: list[Run], perception: Perception) -> list[str]:
    """Return sentences that name the best checkpoint by each criterion, and say where bicubic is at least as good."""
    front = front_of(runs, perception)
    bicubic = {name: float(runs[0].summary[f"bicubic_{name}"]) for name in SCORES.values()}
    by_psnr, by_ssim = (max(runs, key=lambda run: float(run.summary[key])) for key in SCORES.values())
    by_perception = min(runs, key=lambda run: perception.distances[run.name])
    psnr, ssim = by_psnr.summary["psnr_y"], by_ssim.summary["ssim_y"]
    distance, bicubic_distance = perception.distances[by_perception.name], perception.distances["bicubic"]
    sentences = [
        f"Closest to the truth pixel by pixel (PSNR-Y {format_score('psnr_y', psnr)} dB): {by_psnr.artifact}"
        + _beaten(psnr <= bicubic["psnr_y"], f"{format_score('psnr_y', bicubic['psnr_y'])} dB"),
        f"Closest in structure (SSIM-Y {format_score('ssim_y', ssim)}): {by_ssim.artifact}"
        + _beaten(ssim <= bicubic["ssim_y"], format_score("ssim_y", bicubic["ssim_y"])),
        f"Most natural to look at ({perception.measure} {distance:.4g}): {by_perception.artifact}"
        + _beaten(distance >= bicubic_distance, f"{bicubic_distance:.4g}"),
    ]
    if not front:
        return [*sentences, f"Best compromise: bicubic, which no run beats in PSNR-Y or {perception.measure}."]
    points = [(run.summary["psnr_y"], perception.distances[run.name]) for run in front]
    both = front[compromise(points, range(len(front)))]
    return [
        *sentences,
        f"Best compromise (PSNR-Y {format_score('psnr_y', both.summary['psnr_y'])} dB, {perception.measure} "
        f"{perception.distances[both.name]:.4g}): {both.artifact}",
    ]


def _beaten(by_bicubic: bool, score: str) -> str:
    return f", but no run beats bicubic ({score})" if by_bicubic else ""
