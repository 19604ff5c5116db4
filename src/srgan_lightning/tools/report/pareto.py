"""Find the Pareto front and the best compromise of several runs."""

import math
from collections.abc import Sequence

Point = tuple[float, float]


def pareto_front(points: Sequence[Point]) -> list[int]:
    """Return the indices of the points on the Pareto front, by descending first coordinate.

    A point is left out if another is better in one coordinate and not worse in the other. Of equal points, only the
    first is returned.

    Args:
        points: distortion score (higher is better) and perceptual distance (lower is better) of each run.
    """
    order = sorted(range(len(points)), key=lambda i: (-points[i][0], points[i][1]))
    front: list[int] = []
    for i in order:
        if not front or points[i][1] < points[front[-1]][1]:
            front.append(i)
    return front


def compromise(points: Sequence[Point], front: Sequence[int]) -> int:
    """Return the index of the point on the front that is nearest to the ideal point.

    The ideal point has the best value of each coordinate on the front. Each coordinate is divided by its range on the
    front.
    """
    columns = list(zip(*(points[i] for i in front), strict=True))
    spans = [max(column) - min(column) or 1.0 for column in columns]
    ideal = max(columns[0]), min(columns[1])

    def distance(i: int) -> float:
        return math.hypot(*((points[i][axis] - ideal[axis]) / spans[axis] for axis in (0, 1)))

    return min(front, key=distance)
