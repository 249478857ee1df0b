"""One sample in a process of its own: ``python -m tests.benchmarks.sample``. Prints it as JSON.

A contender is warmed up by a small call with a client that is thrown away, so that imports, threads and the TLS
settings are there; the client that is measured has not called yet.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from pathlib import Path
from tempfile import TemporaryDirectory

from attrs import asdict

from tests.benchmarks.answers import Answer
from tests.benchmarks.callers import Place, Unavailable
from tests.benchmarks.cases import Case, Sample, Trial, every
from tests.benchmarks.machine import CLIENT_CORE, pin


async def _sample(case: Case, contender: str, server: str, authority: str, folder: Path) -> Sample:
    trial = Trial(folder, case.answer, case.ticker)
    opener = case.contenders[contender]
    try:
        if case.warm:
            with TemporaryDirectory(dir=folder) as scratch:
                async with opener(Place(f"{server}/warm{Answer().path}/v1", authority)) as caller:
                    await caller.generate(1, Path(scratch))
        async with opener(Place(f"{server}{case.answer.path}/v1", authority)) as caller:
            await case.work(caller, trial)
    except Unavailable as reason:
        return Sample(failure=str(reason))
    return Sample(trial.readings, trial.counts)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("case")
    parser.add_argument("contender")
    parser.add_argument("server", help="scheme, host and port")
    parser.add_argument("authority", help="PEM file with the certificate to trust")
    parser.add_argument("folder", type=Path, help="an empty folder")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    pin(CLIENT_CORE)
    case = next(case for case in every(quick=options.quick) if case.name == options.case)
    assert isinstance(case, Case)
    sample = asyncio.run(_sample(case, options.contender, options.server, options.authority, options.folder))
    print(json.dumps(asdict(sample)))
