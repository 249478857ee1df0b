"""Tables: medians, how they stand to the baseline, how far they spread, and whether the goals were reached."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import TypeAlias

from attrs import asdict

from tests.benchmarks.cases import BASELINE, AnyCase, Goal, Sample

MEASURES = {
    "wall": ("wall", "ms"),
    "cpu": ("CPU", "ms"),
    "rss": ("peak RSS", "MB"),
    "lag": ("worst lag", "ms"),
}
"""What is measured: the name to print and the unit."""

_NOTABLE = 1.0
"""Milliseconds or megabytes: ratios of less than that are noise."""

Samples: TypeAlias = Mapping[str, Sequence[Sample]]
"""Of one case, by contender; the samples of one round stand at the same place."""


def document(
    cases: Sequence[AnyCase], samples: Mapping[str, Samples], facts: Mapping[str, str], *, rounds: int
) -> str:
    """Return everything as Markdown."""
    about = ", ".join(f"{name} {value}" for name, value in facts.items())
    head = (
        f"Measured {about}. Medians of {rounds} interleaved rounds; in bold the ratio to `{BASELINE}` in the "
        "same round, and in brackets its range."
    )
    return "\n\n".join([head, *(_section(case, samples[case.name]) for case in cases)]) + "\n"


def ratios(samples: Samples, contender: str, measure: str) -> list[float]:
    """Return how a contender stands to the baseline, round by round, lowest first."""
    if BASELINE not in samples:
        return []
    pairs = zip(_values(samples[contender], measure), _values(samples[BASELINE], measure), strict=True)
    return sorted(
        own / other for own, other in pairs if own is not None and other and max(own, other) >= _NOTABLE
    )


def _section(case: AnyCase, samples: Samples) -> str:
    shown = [
        measure
        for measure in MEASURES
        if any(value is not None for group in samples.values() for value in _values(group, measure))
    ]
    names = list(
        dict.fromkeys(name for group in samples.values() for sample in group for name in sample.counts)
    )
    rows = [
        ["", *(", ".join(MEASURES[measure]) for measure in shown), *names],
        ["---"] * (1 + len(shown) + len(names)),
    ]
    for contender, group in samples.items():
        failure = next((sample.failure for sample in group if sample.failure), None)
        if failure is not None and all(sample.failure for sample in group):
            rows.append([contender, failure, *[""] * (len(shown) + len(names) - 1)])
        else:
            cells = [_cell(samples, contender, measure) for measure in shown]
            rows.append([contender, *cells, *(_count(group, name) for name in names)])
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    verdicts = "\n".join(f"- {_verdict(goal, samples)}" for goal in case.goals)
    return "\n\n".join(part for part in (f"## {case.title}", table, case.note, verdicts) if part)


def _cell(samples: Samples, contender: str, measure: str) -> str:
    values = [value for value in _values(samples[contender], measure) if value is not None]
    if not values:
        return ""
    text = _number(median(values))
    found = ratios(samples, contender, measure)
    if contender == BASELINE or not found:
        return f"{text}{_range(values, _number)}"
    return f"{text} **{_ratio(median(found))}**{_range(found, _ratio)}"


def _range(values: Sequence[float], shown: Callable[[float], str]) -> str:
    return f" ({shown(min(values))}-{shown(max(values))})" if len(values) > 1 else ""


def _count(group: Sequence[Sample], name: str) -> str:
    found = _counts(group, name)
    return "-".join(dict.fromkeys(f"{value:g}" for value in (min(found), max(found)))) if found else ""


def _verdict(goal: Goal, samples: Samples) -> str:
    title, unit = MEASURES.get(goal.measure, (goal.measure, ""))
    if goal.relative:
        found, shown = ratios(samples, goal.contender, goal.measure), _ratio
    elif goal.measure in MEASURES:
        values = _values(samples[goal.contender], goal.measure)
        found, shown = [value for value in values if value is not None], _number
    else:
        found, shown = sorted(_counts(samples[goal.contender], goal.measure))[-1:], _number
    what = f"{goal.contender}: {title} at most {shown(goal.limit)}{'' if goal.relative or not unit else f' {unit}'}"
    if not found:
        return f"{what}: not measured"
    reached = median(found)
    return f"{what}: {'reached' if reached <= goal.limit else '**missed**'} ({shown(reached)})"


def _values(group: Sequence[Sample], measure: str) -> list[float | None]:
    return [asdict(sample.readings)[measure] for sample in group]


def _counts(group: Sequence[Sample], name: str) -> list[float]:
    return [sample.counts[name] for sample in group if name in sample.counts]


def _number(value: float) -> str:
    whole = value >= 100 or value == int(value)
    return f"{value:.0f}" if whole else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def _ratio(value: float) -> str:
    return f"{value:.1f}x" if value >= 10 else f"{value:.2f}x" if value >= 0.1 else f"{value:.3f}x"
