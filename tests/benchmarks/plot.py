"""A figure of the ratios: one panel for each measure, one mark for each case, with its range."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks.cases import AnyCase
from tests.benchmarks.report import MEASURES, Samples, ratios


def save(cases: Sequence[AnyCase], samples: Mapping[str, Samples], path: Path) -> None:
    """Write the figure; the ending of the path says in which format."""
    import_module("matplotlib").use("Agg")
    pyplot: Any = import_module("matplotlib.pyplot")
    panels = {
        measure: {c.title: found for c in cases if (found := ratios(samples[c.name], "imagesdk", measure))}
        for measure in MEASURES
    }
    panels = {measure: bars for measure, bars in panels.items() if bars}
    everything = [ratio for bars in panels.values() for found in bars.values() for ratio in found]
    heights = [len(bars) for bars in panels.values()]
    size = (8, 1.2 * len(panels) + 0.28 * sum(heights))
    figure, axes = pyplot.subplots(len(panels), 1, figsize=size, squeeze=False, height_ratios=heights)
    for (measure, bars), (axis,) in zip(panels.items(), axes, strict=True):
        middles = [median(found) for found in bars.values()]
        reach = [
            [abs(found[end] - middle) for middle, found in zip(middles, bars.values(), strict=True)]
            for end in (0, -1)
        ]
        axis.errorbar(middles, list(bars), xerr=reach, fmt="o", color="#2a7f62", capsize=3)
        for title, middle in zip(bars, middles, strict=True):
            axis.annotate(f"{middle:.2g}x", (middle, title), (0, 5), textcoords="offset points", fontsize=7)
        axis.axvline(1, color="black", linewidth=0.8)
        axis.set_xscale("log")
        axis.set_xlim(min(everything) / 2, max(1.0, *everything) * 2)
        axis.invert_yaxis()
        axis.tick_params(labelsize=8)
        axis.set_title(f"{MEASURES[measure][0]}, imagesdk / openai", fontsize=10, loc="left")
    figure.tight_layout()
    figure.savefig(path, dpi=120)
