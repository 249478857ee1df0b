"""``python -m tests.soak``: run the trials, each in a process of its own, and print what they counted."""

from __future__ import annotations

import argparse
import faulthandler
import gc
import json
import logging
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from threading import enumerate as enumerate_threads
from threading import main_thread

from attrs import frozen

from tests.soak import (
    batches,
    cancellations,
    claims,
    emulators,
    exchanges,
    exits,
    floods,
    journals,
    limits,
    nights,
    output_files,
    runs,
    storms,
    threads,
)

_WARNINGS = [
    *("-W", "error"),
    *("-W", "ignore:This process:DeprecationWarning"),
    *("-W", "ignore:a blocking client was not closed:ResourceWarning"),
]
"""From 3.12 on it is told that a process with threads forks; and an interrupt may leave a client open."""
_BATCHES = 20
"""Parts that the work of a trial is done in: after each it may be enough."""


@frozen
class Trial:
    """One kind of harm."""

    title: str
    run: Callable[[int, int, int], Counter[str]]
    """Takes the seed, the first number and how many; raises at a broken promise."""
    count: int
    patience: float
    whole: bool = False
    """Whether its work is one thing, and not done in parts."""


TRIALS = {
    "exchanges": Trial("calls to a server whose answers are wrong in some way", exchanges.run, 10_000, 0.3),
    "floods": Trial("answers of many small parts, and their longest steps", floods.run, 1000, 3, whole=True),
    "cancellations": Trial("calls that are cancelled at random instants", cancellations.run, 10_000, 0.2),
    "storms": Trial(
        "crowds of calls that are cancelled, also over TLS and a tunnel", storms.run, 3000, 0.3, whole=True
    ),
    "interrupts": Trial(
        "blocking calls that are interrupted at random instants", threads.interrupts, 10_000, 0.1
    ),
    "blocks": Trial(
        "blocks of runs and streams that one interrupt strikes while they are entered, used or left",
        threads.blocks,
        2000,
        0.5,
    ),
    "forks": Trial("forks under eight busy threads", threads.forks, 200, 2),
    "races": Trial("races of 32 threads for the first call", threads.races, 100, 5),
    "kills": Trial("runs whose process is killed at random instants", runs.kills, 60, 20),
    "claims": Trial("processes that share a ledger and are killed at random instants", claims.kills, 10, 60),
    "batch-kills": Trial(
        "runs on the batch lane whose process is killed at random instants", batches.kills, 30, 30
    ),
    "batch-storms": Trial("runs on the batch lanes against several faults at once", batches.storms, 100, 15),
    "batch-memory": Trial(
        "a run on the batch lane that receives 3 GB, whose memory is watched",
        batches.memory,
        20_000,
        0.1,
        whole=True,
    ),
    "nights": Trial(
        "a nightly batch with everything in its way that a night has", nights.run, 2000, 0.3, whole=True
    ),
    "journals": Trial("journals that are damaged in random rows or bytes", journals.damages, 750, 0.5),
    "memory": Trial("runs of many jobs, whose memory is watched", runs.memory, 10_000, 0.1, whole=True),
    "output-files": Trial(
        "an output file of the emulator's Batch API, and the memory that it takes",
        output_files.run,
        20_000,
        0.05,
        whole=True,
    ),
    "fan-outs": Trial("fan-outs against every kind of limit", limits.fan_outs, 60, 5),
    "limits": Trial("clients that believe in a limit that is too high", limits.wrong_limits, 320, 2),
    "windows": Trial("events of a rate limit in any order", limits.windows, 500, 2, whole=True),
    "emulators": Trial(
        "an emulator under load and attack, its memory and its files", emulators.run, 5000, 0.5, whole=True
    ),
    "exits": Trial("programs that end in the midst of calls", exits.run, 100, 10),
}


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak", description="Do harm by the thousand, and count what comes of it."
    )
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(TRIALS)} (default: all)")
    parser.add_argument("--scale", type=float, default=1.0, help="how many times the usual work")
    parser.add_argument("--count", type=int, help="how much work, in place of the usual")
    parser.add_argument("--seconds", type=float, help="go on for as long as this, whatever the count")
    parser.add_argument("--seed", type=int, default=1, help="what everything random comes from")
    parser.add_argument("--first", type=int, default=0, help="the first number: to see a failure again")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if unknown := set(options.names) - set(TRIALS):
        parser.error(f"no such trial: {', '.join(sorted(unknown))}")
    names = options.names or list(TRIALS)
    counts = {name: options.count or max(1, round(TRIALS[name].count * options.scale)) for name in names}
    if options.inside:
        print(json.dumps(_inside(TRIALS[names[0]], counts[names[0]], options)))
        return 0
    failed = [name for name in names if not _outside(name, TRIALS[name], counts[name], options)]
    return int(bool(failed))


def _outside(name: str, trial: Trial, count: int, options: argparse.Namespace) -> bool:
    print(f"{name}: {trial.title}", flush=True)
    words = [name, "--inside", f"--count={count}", f"--seed={options.seed}", f"--first={options.first}"]
    words += [f"--seconds={options.seconds}"] if options.seconds else []
    began = time.monotonic()
    command = [sys.executable, *_WARNINGS, "-m", "tests.soak", *words]
    process = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    seconds = time.monotonic() - began
    well = process.returncode == 0 and not process.stderr
    if process.stdout.startswith("{"):
        for what, number in sorted(json.loads(process.stdout).items(), key=lambda pair: -pair[1]):
            print(f"  {number:8} {what}")
    print(f"  {'ok' if well else 'FAILED'} after {seconds:.0f} s", flush=True)
    if not well:
        print(process.stderr, f"exit code {process.returncode}", flush=True)
    return well


def _inside(trial: Trial, count: int, options: argparse.Namespace) -> Counter[str]:
    logging.disable()
    faulthandler.dump_traceback_later(60 + (options.seconds or 0) + trial.patience * count, exit=True)
    counts, number, end = Counter[str](), options.first, options.first + count
    until = None if options.seconds is None else time.monotonic() + options.seconds
    before: int | None = None
    while number < end if until is None else time.monotonic() < until:
        part = count if trial.whole else max(1, count // _BATCHES)
        counts += trial.run(options.seed, number, part if until is not None else min(part, end - number))
        number += part
        gc.collect()
        before = _descriptors() if before is None else before
    left = _descriptors() - (before or 0)
    assert left <= 0, f"{left} files or sockets were left open"
    others = [thread for thread in enumerate_threads() if thread.name == "imagesdk" or not thread.daemon]
    assert others == [main_thread()], f"threads were left: {others}"
    return counts


def _descriptors() -> int:
    return len(list(Path("/dev/fd").iterdir()))


if __name__ == "__main__":
    sys.exit(main())
