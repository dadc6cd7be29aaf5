"""The kappa of every pair of models as one picture, models of like errors beside each other.

Order: average linkage on the distance 1 - kappa, with optimal leaf order up to 400 models. A pair whose kappa is
undefined takes the mean of all the others for the ordering alone, and stays blank in the picture, like the diagonal.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from overlap.report.canvas import canvas, to_svg
from overlap.report.palette import MUTED, STRIPS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NAMED = 64
"""Models up to which rows carry their names."""
OPTIMAL = 400
"""Models up to which leaves are ordered optimally (its cost grows faster than the square) and the tree is drawn."""
AXES = ("dataset", "framework")


@dataclass(frozen=True)
class HeatMap:
    """The picture, and where its cells are, so that a page can say which pair a pointer is on."""

    svg: str
    order: tuple[str, ...]
    box: tuple[float, float, float, float]
    """Left, top, width and height of the cells, as fractions of the picture."""


def matrix(pairs: pl.DataFrame, models: list[str]) -> npt.NDArray[np.float64]:
    """Kappa as a symmetric (M, M) matrix in the order of `models`; NaN on the diagonal and where undefined."""
    place = {model: row for row, model in enumerate(models)}
    rows = np.array([place[name] for name in pairs["model_a"]], dtype=np.int64)
    columns = np.array([place[name] for name in pairs["model_b"]], dtype=np.int64)
    kappa = np.full((len(models), len(models)), np.nan)
    values = pairs["kappa"].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    kappa[rows, columns] = values
    kappa[columns, rows] = values
    return kappa


def cluster(kappa: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], list[int]]:
    """Linkage and order of leaves for a kappa matrix (M, M) with M >= 2."""
    from scipy.cluster.hierarchy import leaves_list, linkage
    from scipy.spatial.distance import squareform

    known = kappa[np.isfinite(kappa)]
    filled = np.where(np.isfinite(kappa), kappa, known.mean() if known.size else 0.0)
    distance = np.maximum(1.0 - filled, 0.0)
    np.fill_diagonal(distance, 0.0)
    tree = linkage(squareform(distance, checks=False), "average", optimal_ordering=len(kappa) <= OPTIMAL)
    return tree, [int(leaf) for leaf in leaves_list(tree)]


def draw(pairs: pl.DataFrame, models: pl.DataFrame, name: str) -> HeatMap:
    """The clustered heat map of all models that have pairs (at least two)."""
    paired = {*pairs["model_a"], *pairs["model_b"]}
    table = models.filter(pl.col("model").is_in(list(paired)))
    unordered = table["model"].to_list()
    kappa = matrix(pairs, unordered)
    tree, leaves = cluster(kappa)
    order = [unordered[leaf] for leaf in leaves]
    named = len(order) <= NAMED
    axes_shown = [axis for axis in AXES if axis in table.columns and table[axis].drop_nulls().n_unique() > 1]

    margin = 0.08 * max(map(len, order)) + 0.1 if named else 0.2
    side, strip, top = min(6.2, max(2.4, 0.42 * len(order))), 0.14, 0.75
    width = max(7.4, 0.15 + (strip + 0.04) * len(axes_shown) + side + margin)
    height = top + side + 0.75 + 0.2 * len(axes_shown)
    with canvas(width, height) as figure:

        def place(left: float, above: float, wide: float, tall: float) -> Axes:
            return figure.add_axes((left / width, 1 - (above + tall) / height, wide / width, tall / height))

        left = 0.15 + (strip + 0.04) * len(axes_shown)
        _tree(place(left, 0.0, side, top - 0.05), tree, len(order))
        cells = place(left, top, side, side)
        image = _cells(cells, kappa[np.ix_(leaves, leaves)], order if named else None)
        bar = place(left, top + side + 0.18, 2.4, 0.11)
        figure.colorbar(image, cax=bar, orientation="horizontal")
        bar.grid(False)
        bar.tick_params(labelsize=8)
        bar.set_title("error consistency κ", fontsize=8, color=MUTED.light, loc="left", pad=3)
        for number, axis in enumerate(axes_shown):
            values = [table[axis][leaf] for leaf in leaves]
            known = _strip(place(0.15 + number * (strip + 0.04), top, strip, side), values, axis)
            legend = place(left, top + side + 0.62 + 0.2 * number, width - left, 0.18)
            _legend(legend, axis, known)
        box = (left / width, top / height, side / width, side / height)
        return HeatMap(to_svg(figure, name), tuple(order), box)


def _tree(axes: Axes, tree: npt.NDArray[np.float64], leaves: int) -> None:
    axes.set_axis_off()
    if leaves > OPTIMAL:  # scipy walks the tree by recursion, and so fine a comb shows nothing
        return
    from matplotlib.collections import LineCollection
    from scipy.cluster.hierarchy import dendrogram

    drawn = dendrogram(tree, no_plot=True)
    forks = [list(zip(xs, ys, strict=True)) for xs, ys in zip(drawn["icoord"], drawn["dcoord"], strict=True)]
    axes.add_collection(LineCollection(forks, colors=MUTED.light, linewidths=0.6))
    axes.set_xlim(0, 10 * leaves)
    axes.set_ylim(0, 1.02 * float(tree[-1, 2]) or 1.0)


def _cells(axes: Axes, kappa: npt.NDArray[np.float64], names: list[str] | None) -> Any:
    known = kappa[np.isfinite(kappa)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    image = axes.imshow(
        kappa, cmap="viridis", vmin=low, vmax=max(high, low + 1e-6), aspect="auto", interpolation="none"
    )
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.set_xticks([])
    axes.set_yticks(range(len(names)) if names else [])
    if names:
        axes.yaxis.tick_right()
        axes.set_yticklabels(names, fontsize=max(5.0, min(9.0, 330 / len(names))))
    return image


def _strip(axes: Axes, values: list[str | None], axis: str) -> list[tuple[str, str]]:
    from matplotlib.colors import to_rgb

    common = [value for value, _ in Counter(value for value in values if value is not None).most_common()]
    tones = dict(zip(common, STRIPS[:-1], strict=False))
    known = list(tones.items())
    if len(common) > len(tones):
        known.append((f"{len(common) - len(tones)} others", STRIPS[-1]))
    pixels = [(*to_rgb(tones.get(value, STRIPS[-1])), 1.0) if value is not None else (0.0,) * 4 for value in values]
    axes.imshow(np.array(pixels)[:, None, :], aspect="auto", interpolation="none")
    axes.set_axis_off()
    axes.set_title(axis, fontsize=7, color=MUTED.light, rotation=90, loc="center", pad=3)
    return known


def _legend(axes: Axes, axis: str, known: list[tuple[str, str]]) -> None:
    from matplotlib.patches import Patch

    axes.set_axis_off()
    handles = [Patch(facecolor="none", label=f"{axis}:"), *(Patch(color=tone, label=name) for name, tone in known)]
    axes.legend(
        handles=handles,
        loc="center left",
        ncols=len(handles),
        bbox_to_anchor=(-0.035, 0.5),
        handlelength=0.9,
        handleheight=0.9,
        columnspacing=1.1,
        handletextpad=0.5,
        borderpad=0,
    )
