"""By how much a call exceeds its time-out, where a server never answers or never stops to."""

from __future__ import annotations

from tests.benchmarks.callers import BASELINE, OURS
from tests.benchmarks.cases import AnyCase, ProgramCase, goals

_LATE = 250
"""Milliseconds."""

_PROGRAM = """
import asyncio, time

async def serve(reader, writer):
    try:
        await reader.readuntil(b"\\r\\n\\r\\n")
        if {drips}:
            head = b"HTTP/1.1 200 OK\\r\\ncontent-type: application/json\\r\\ncontent-length: 99999\\r\\n\\r\\n"
            writer.write(head + b'{{"data": [{{"b64_json": "')
            for _ in range(80):
                writer.write(b"AAAA")
                await asyncio.sleep(0.1)
        else:
            await asyncio.sleep(8)
    except (OSError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()

{client}

async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=256)
    client = make("http://127.0.0.1:%d/v1" % server.sockets[0].getsockname()[1])
    late = []

    async def call():
        began = time.monotonic()
        try:
            await client.images.generate(**asked)
        except Exception:
            pass
        late.append(time.monotonic() - began - 1.0)

    await asyncio.gather(*(call() for _ in range({calls})))
    print(max(late))

asyncio.run(main())
"""
_CLIENTS = {
    OURS: """
from imagesdk import AsyncClient
asked = dict(prompt="a cat")
def make(url):
    return AsyncClient(base_url=url, api_key="", rate_limit=None, timeout=1.0)
""",
    BASELINE: """
from openai import AsyncOpenAI
asked = dict(prompt="a cat", model="gpt-image-2")
def make(url):
    return AsyncOpenAI(base_url=url, api_key="bench", timeout=1.0, max_retries=0)
""",
}


def cases(*, quick: bool) -> list[AnyCase]:
    calls = 8 if quick else 64
    return [
        ProgramCase(
            f"deadlines-{name}",
            f"beyond a time-out of one second, the latest of {calls} calls to a server that {does}",
            {
                who: _PROGRAM.format(drips=name == "drip", client=client, calls=calls)
                for who, client in _CLIENTS.items()
            },
            goals=goals(OURS, wall=_LATE),
        )
        for name, does in (("silent", "never answers"), ("drip", "sends a few bytes ten times a second"))
    ]
