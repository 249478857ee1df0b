"""Smoke test of an installed wheel, run by ``nox -s release`` from outside the checkout. It uses nothing but the wheel.

Arguments: the folder that the package must not come from, and the expected version.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tempfile
from importlib.metadata import entry_points, metadata
from pathlib import Path

import imagesdk
from imagesdk import AsyncClient, Client, Generate, estimate
from imagesdk.emulator import Emulator


def main() -> None:
    """Check the files of the wheel, both clients, a run that resumes, and the command line."""
    checkout, expected = Path(sys.argv[1]), sys.argv[2]
    package = Path(imagesdk.__file__).parent
    assert package.is_relative_to(sys.prefix), package
    assert package != checkout / "imagesdk"
    assert (package / "py.typed").exists()
    assert (package / "__init__.pyi").exists()
    assert imagesdk.__version__ == expected
    [script] = entry_points(group="console_scripts", name="imagesdk")
    assert script.dist is not None
    assert metadata(script.dist.name)["Version"] == expected
    assert estimate(Generate("a cat", model="gpt-image-2", quality="low", size="1024x1024")).cost
    with tempfile.TemporaryDirectory() as folder, Emulator(limit=None) as emulator:
        with Client(base_url=emulator.base_url, rate_limit=None) as client:
            assert client.images.generate("a cat", size="1024x1024")[0].bytes.startswith(b"\x89PNG")
            for resumed in (False, True):
                with client.images.fan_out(["a river", "a lake"], out=f"{folder}/out") as run:
                    outcomes = run.collect()
                assert [outcome.status for outcome in outcomes] == ["done", "done"]
                assert all(outcome.resumed is resumed for outcome in outcomes)
        asyncio_call(emulator.base_url)
    program = Path(sysconfig.get_path("scripts")) / "imagesdk"
    shown = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    assert shown == f"imagesdk {expected}\n", shown
    checked = subprocess.run([program, "--emulator", "doctor"], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    print(f"imagesdk {expected} on Python {sys.version.split()[0]}: works, from {package}")


def asyncio_call(base_url: str) -> None:
    """Make one call with the asynchronous client."""
    import anyio

    async def call() -> None:
        async with AsyncClient(base_url=base_url, rate_limit=None) as client:
            assert len(await client.images.generate("a cat", n=2)) == 2

    anyio.run(call)


if __name__ == "__main__":
    main()
