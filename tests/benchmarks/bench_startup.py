"""From nothing to ready: imports, the first client, the second, the first answer, the command line."""

from __future__ import annotations

from tests.benchmarks.callers import BASELINE, OURS
from tests.benchmarks.cases import AnyCase, ProgramCase, goals


def _timed(work: str, *, before: str = "pass") -> str:
    return f"import time\n{before}\nbegan = time.perf_counter()\n{work}\nprint(time.perf_counter() - began)\n"


def _command(*words: str) -> str:
    arguments = ", ".join(repr(word) for word in words)
    return _timed(
        f"subprocess.run([sys.executable, {arguments}], stdout=subprocess.DEVNULL, check=True)",
        before="import subprocess, sys",
    )


_CLIENT = 'import {0}; client = {0}.{1}(api_key="bench"); client.images'
_FIRST_ANSWER_OURS = """\
import os, sys
os.environ["SSL_CERT_FILE"] = sys.argv[2]
import imagesdk
client = imagesdk.Client(base_url=sys.argv[1], api_key="bench")
client.images.generate("a white siamese cat")
"""
_FIRST_ANSWER_OPENAI = """\
import ssl, sys
import openai
http_client = openai.DefaultHttpxClient(verify=ssl.create_default_context(cafile=sys.argv[2]))
client = openai.OpenAI(base_url=sys.argv[1], api_key="bench", http_client=http_client)
client.images.generate(prompt="a white siamese cat")
"""


def cases(*, quick: bool) -> list[AnyCase]:
    del quick  # they are short as they are
    ours, theirs = _CLIENT.format("imagesdk", "AsyncClient"), _CLIENT.format("openai", "AsyncOpenAI")
    return [
        ProgramCase(
            "startup-import",
            "import",
            {name: _timed(f"import {name}") for name in (BASELINE, OURS, "httpx")},
            goals=goals(OURS, wall=5),
        ),
        ProgramCase(
            "startup-client",
            "import, first client, its images",
            {BASELINE: _timed(theirs), OURS: _timed(ours)},
            goals=goals(OURS, wall="0.25x"),
        ),
        ProgramCase(
            "startup-second",
            "second client",
            {BASELINE: _timed(theirs, before=theirs), OURS: _timed(ours, before=ours)},
            goals=goals(OURS, wall=1),
        ),
        ProgramCase(
            "startup-answer",
            "import, blocking client, first answer over TLS",
            {BASELINE: _timed(_FIRST_ANSWER_OPENAI), OURS: _timed(_FIRST_ANSWER_OURS)},
        ),
        ProgramCase(
            "startup-help",
            "--help, in a process of its own",
            {OURS: _command("-m", "imagesdk", "--help"), "bare Python": _command("-c", "pass")},
            goals=goals(OURS, wall=60),
            note="The official client of today has no command line.",
        ),
    ]
