"""``python -m tests.benchmarks``: take the samples, print the tables."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from attrs import asdict

from tests.benchmarks import laboratory, machine, report
from tests.benchmarks.cases import select


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks", description="Measure imagesdk against the official client."
    )
    parser.add_argument("names", nargs="*", help="beginnings of names of cases (default: all)")
    parser.add_argument("--rounds", type=int, default=5, help="how often each contender does each case")
    parser.add_argument("--quick", action="store_true", help="smaller work, one round: to try them out")
    parser.add_argument("--list", action="store_true", help="print the names of the cases and stop")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write a picture of the ratios")
    options = parser.parse_args()
    try:
        cases = select(options.names, quick=options.quick)
    except LookupError as error:
        parser.error(str(error))
    if options.list:
        print("\n".join(f"{case.name:20} {case.title}" for case in cases))
        return 0
    rounds = 1 if options.quick else options.rounds
    with laboratory.open_laboratory() as opened:
        samples = laboratory.take(opened, cases, rounds=rounds, quick=options.quick)
    facts = machine.facts()
    print(report.document(cases, samples, facts, rounds=rounds))
    if options.json is not None:
        plain = {
            name: {contender: [asdict(sample) for sample in group] for contender, group in groups.items()}
            for name, groups in samples.items()
        }
        options.json.write_text(json.dumps({"facts": facts, "samples": plain}, indent=1), encoding="utf-8")
    if options.plot is not None:
        report.plot(cases, samples, options.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
