"""Takes samples: a server on one core, a fresh process for each sample on another, contenders in turn."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

from attrs import frozen

from tests.benchmarks.answers import Answer
from tests.benchmarks.cases import AnyCase, ProgramCase, Sample
from tests.benchmarks.machine import environment
from tests.benchmarks.meter import Readings

_PATIENCE = 180.0
_REPEATS = 5
"""How often a program runs for one sample; the median counts."""


@frozen
class Laboratory:
    """A running server, and what is needed to send clients to it."""

    http: int
    https: int
    authority: Path
    scratch: Path

    def sample(self, case: AnyCase, contender: str, *, quick: bool) -> Sample:
        if isinstance(case, ProgramCase):
            return self._run_program(case.contenders[contender])
        self._counters()
        with tempfile.TemporaryDirectory(dir=self.scratch) as folder:
            server = f"https://localhost:{self.https}" if case.tls else f"http://127.0.0.1:{self.http}"
            words = [case.name, contender, server, str(self.authority), folder, *["--quick"][: int(quick)]]
            trusted = {"SSL_CERT_FILE": str(self.authority)} if case.tls else {}
            printed = _printed("-m", "tests.benchmarks.sample", *words, **trusted)
        if isinstance(printed, Sample):
            return printed
        found: dict[str, Any] = json.loads(printed)
        counts = {} if found["failure"] else {**self._counters(), **found["counts"]}
        return Sample(Readings(**found["readings"]), counts, found["failure"])

    def _run_program(self, text: str) -> Sample:
        server = f"https://localhost:{self.https}{Answer().path}/v1"
        seconds: list[float] = []
        for _ in range(1 + _REPEATS):
            printed = _printed("-c", text, server, str(self.authority))
            if isinstance(printed, Sample):
                return printed
            seconds.append(float(printed))
        return Sample(Readings(wall=median(seconds[1:]) * 1e3))  # the first one may have compiled its modules

    def _counters(self) -> dict[str, float]:
        connection = http.client.HTTPConnection("127.0.0.1", self.http)
        connection.request("GET", "/counters")
        counters: dict[str, float] = json.loads(connection.getresponse().read())
        connection.close()
        return counters


@contextmanager
def open_laboratory() -> Generator[Laboratory, None, None]:
    memory = Path("/dev/shm")  # where there is one, files cost the same at every moment
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        scratch = Path(folder)
        trustme: Any = import_module("trustme")
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(scratch / "authority.pem"))
        certificate = authority.issue_cert("localhost").private_key_and_cert_chain_pem
        certificate.write_to_path(str(scratch / "server.pem"))
        words = [sys.executable, "-m", "tests.benchmarks.server", str(scratch / "server.pem")]
        pipe = subprocess.PIPE
        with subprocess.Popen(words, env=environment(), stdin=pipe, stdout=pipe) as server:
            assert server.stdout is not None
            ports: dict[str, int] = json.loads(server.stdout.readline())
            try:
                yield Laboratory(**ports, authority=scratch / "authority.pem", scratch=scratch)
            finally:
                server.terminate()


def take(
    laboratory: Laboratory, cases: Sequence[AnyCase], *, rounds: int, quick: bool
) -> dict[str, dict[str, list[Sample]]]:
    samples: dict[str, dict[str, list[Sample]]]
    samples = {case.name: {contender: [] for contender in case.contenders} for case in cases}
    for turn in range(rounds):
        for case in cases:
            contenders = list(case.contenders)
            first = turn % len(contenders)
            for contender in contenders[first:] + contenders[:first]:
                print(f"{turn + 1}/{rounds} {case.name}: {contender}", file=sys.stderr, flush=True)
                samples[case.name][contender].append(laboratory.sample(case, contender, quick=quick))
    return samples


def _printed(*words: str, **settings: str) -> str | Sample:
    command, terms = [sys.executable, *words], environment(**settings)
    try:
        process = subprocess.run(command, env=terms, capture_output=True, text=True, timeout=_PATIENCE)
    except subprocess.TimeoutExpired:
        return Sample(failure=f"not done after {_PATIENCE:.0f} s")
    if process.returncode:
        lines = process.stderr.strip().splitlines() or ["it ended without a word"]
        return Sample(failure=lines[-1][:200])
    return process.stdout
