"""Tables and a figure: medians, their ratios to the baseline, how far they spread, and whether the goals were reached."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any, TypeAlias, cast

from tests.benchmarks.callers import BASELINE
from tests.benchmarks.cases import AnyCase, Goal, Sample

MEASURES = {
    "wall": ("wall", "ms"),
    "cpu": ("CPU", "ms"),
    "rss": ("peak RSS", "MB"),
    "lag": ("worst lag", "ms"),
}
_NOTABLE = 1.0
"""Milliseconds or megabytes: ratios of less than that are noise."""

Samples: TypeAlias = Mapping[str, Sequence[Sample]]
"""Of one case, by contender; the samples of one round have the same index."""


def document(
    cases: Sequence[AnyCase], samples: Mapping[str, Samples], facts: Mapping[str, str], *, rounds: int
) -> str:
    about = ", ".join(f"{name} {value}" for name, value in facts.items())
    head = (
        f"Measured {about}. Medians of {rounds} interleaved rounds; in bold the ratio to `{BASELINE}` in the "
        "same round, and in brackets its range."
    )
    return "\n\n".join([head, *(_section(case, samples[case.name]) for case in cases)]) + "\n"


def ratios(samples: Samples, contender: str, measure: str) -> list[float]:
    pairs = zip(samples[contender], samples.get(BASELINE, samples[contender][:0]), strict=False)
    values = [(_values([own], measure), _values([other], measure)) for own, other in pairs]
    return sorted(
        own / other for [own], [other] in filter(all, values) if other and max(own, other) >= _NOTABLE
    )


_IN_CHART = ("cpu", "rss", "lag")
_CHART_END = 1.5
"""Longer bars end here, with their ratio in words."""


def plot(cases: Sequence[AnyCase], samples: Mapping[str, Samples], path: Path) -> None:
    """Draw the median ratios to the official client as bars, with a linear axis."""
    found = {
        case.title: {name: median(ratios(samples[case.name], "imagesdk", name) or [0]) for name in _IN_CHART}
        for case in cases
    }
    draw({title: bars for title, bars in found.items() if any(bars.values())}, path)


def draw(ratios_of: Mapping[str, Mapping[str, float]], path: Path) -> None:
    """Draw one group of bars for each case. A ratio of 0 is left out."""
    import_module("matplotlib").use("Agg")
    pyplot: Any = import_module("matplotlib.pyplot")
    colours: dict[str, str] = dict(zip(_IN_CHART, ("#2a7f62", "#d08c2e", "#4a6fa5"), strict=True))
    figure, axis = pyplot.subplots(figsize=(9, 1 + 0.55 * len(ratios_of)))
    for row, bars in enumerate(ratios_of.values()):
        for place, (measure, ratio) in enumerate(bars.items()):
            if not ratio:
                continue
            height = row + 0.26 * (place - 1)
            label = MEASURES[measure][0] if row == 0 else None
            axis.barh(height, min(ratio, _CHART_END), 0.24, color=colours[measure], label=label)
            axis.annotate(
                f"{ratio:.2g}",
                (min(ratio, _CHART_END), height),
                (2, -3),
                textcoords="offset points",
                fontsize=7,
            )
    axis.axvline(1, color="black", linewidth=0.8)
    axis.set_xlim(0, _CHART_END + 0.1)
    axis.set_yticks(range(len(ratios_of)), list(ratios_of), fontsize=8)
    axis.invert_yaxis()
    axis.set_title("imagesdk / openai (1.0: the same; shorter is better)", fontsize=10, loc="left")
    axis.legend(fontsize=8, loc="upper right")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def _section(case: AnyCase, samples: Samples) -> str:
    everything = [sample for group in samples.values() for sample in group]
    shown = [measure for measure in MEASURES if _values(everything, measure)]
    names = list(dict.fromkeys(name for sample in everything for name in sample.counts))
    rows = [["", *(", ".join(MEASURES[measure]) for measure in shown), *names]]
    rows.append(["---"] * len(rows[0]))
    for contender, group in samples.items():
        cells = [_cell(samples, contender, measure) for measure in shown]
        cells += [_span(_values(group, name)) for name in names]
        if all(sample.failure for sample in group):
            cells = [group[0].failure or "", *[""] * (len(cells) - 1)]
        rows.append([contender, *cells])
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    verdicts = "\n".join(f"- {_verdict(goal, samples)}" for goal in case.goals)
    return "\n\n".join(part for part in (f"## {case.title}", table, case.note, verdicts) if part)


def _cell(samples: Samples, contender: str, measure: str) -> str:
    values, found = _values(samples[contender], measure), ratios(samples, contender, measure)
    if not values:
        return ""
    if contender == BASELINE or not found:
        return f"{_number(median(values))}{_range(values, _number)}"
    return f"{_number(median(values))} **{_ratio(median(found))}**{_range(found, _ratio)}"


def _range(values: Sequence[float], shown: Callable[[float], str]) -> str:
    return f" ({shown(min(values))}-{shown(max(values))})" if len(values) > 1 else ""


def _span(values: Sequence[float]) -> str:
    return "-".join(dict.fromkeys(f"{end(values):g}" for end in (min, max))) if values else ""


def _verdict(goal: Goal, samples: Samples) -> str:
    title, unit = MEASURES.get(goal.measure, (goal.measure, ""))
    found, shown = _values(samples[goal.contender], goal.measure), _number
    if goal.relative:
        found, shown, unit = ratios(samples, goal.contender, goal.measure), _ratio, ""
    elif goal.measure not in MEASURES:  # of a count, the worst
        found = sorted(found)[-1:]
    goal_text = f"{goal.contender}: {title} at most {shown(goal.limit)}{unit and f' {unit}'}"
    if not found:
        return f"{goal_text}: not measured"
    reached = median(found)
    return f"{goal_text}: {'reached' if reached <= goal.limit else '**missed**'} ({shown(reached)})"


def _values(group: Sequence[Sample], name: str) -> list[float]:
    found = [
        cast("float | None", getattr(sample.readings, name) if name in MEASURES else sample.counts.get(name))
        for sample in group
    ]
    return [value for value in found if value is not None]


def _number(value: float) -> str:
    whole = value >= 100 or value == int(value)
    return f"{value:.0f}" if whole else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def _ratio(value: float) -> str:
    return f"{value:.1f}x" if value >= 10 else f"{value:.2f}x" if value >= 0.1 else f"{value:.3f}x"
