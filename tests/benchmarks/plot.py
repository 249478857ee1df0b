"""A picture of the ratios: one panel for each measure, one mark for each case, with its range."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks.cases import AnyCase
from tests.benchmarks.report import MEASURES, Samples, ratios

_OURS = "imagesdk"
_COLOUR = "#2a7f62"


def save(cases: Sequence[AnyCase], samples: Mapping[str, Samples], path: Path) -> None:
    """Write the picture; the ending of the path says in which format."""
    matplotlib: Any = import_module("matplotlib")
    matplotlib.use("Agg")
    pyplot: Any = import_module("matplotlib.pyplot")
    panels = {measure: _bars(cases, samples, measure) for measure in MEASURES}
    panels = {measure: bars for measure, bars in panels.items() if bars}
    everything = [ratio for bars in panels.values() for _, found in bars for ratio in found]
    lowest, highest = min(everything) / 2, max(1.0, *everything) * 2
    heights = [len(bars) for bars in panels.values()]
    figure, axes = pyplot.subplots(
        len(panels),
        1,
        figsize=(8, 1.2 * len(panels) + 0.28 * sum(heights)),
        squeeze=False,
        height_ratios=heights,
    )
    for (measure, bars), row in zip(panels.items(), axes, strict=True):
        axis, titles = row[0], [title for title, _ in bars]
        middles = [median(found) for _, found in bars]
        below = [middle - found[0] for middle, (_, found) in zip(middles, bars, strict=True)]
        above = [found[-1] - middle for middle, (_, found) in zip(middles, bars, strict=True)]
        axis.errorbar(middles, titles, xerr=[below, above], fmt="o", color=_COLOUR, capsize=3)
        for title, middle in zip(titles, middles, strict=True):
            axis.annotate(f"{middle:.2g}x", (middle, title), (0, 5), textcoords="offset points", fontsize=7)
        axis.axvline(1, color="black", linewidth=0.8)
        axis.set_xscale("log")
        axis.set_xlim(lowest, highest)
        axis.invert_yaxis()
        axis.tick_params(labelsize=8)
        axis.set_title(f"{MEASURES[measure][0]}, imagesdk / openai", fontsize=10, loc="left")
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def _bars(
    cases: Sequence[AnyCase], samples: Mapping[str, Samples], measure: str
) -> list[tuple[str, list[float]]]:
    found = [(case.title, ratios(samples[case.name], _OURS, measure)) for case in cases]
    return [(title, values) for title, values in found if values]
