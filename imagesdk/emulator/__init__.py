"""Local server of the Images API for tests and demos. It needs no key, no money and no network.

:func:`create_app` returns the ASGI application, for tests in process. :class:`Emulator` runs it on a free
loopback port beside the program. :func:`serve` runs it until Ctrl-C. Images are drawn by code, not by a
model. Its dependencies are the extra ``emulator``, and are imported on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from imagesdk.emulator.app import create_app
    from imagesdk.emulator.faults import Fault, Faults
    from imagesdk.emulator.log import RequestRecord
    from imagesdk.emulator.options import EmulatorOptions
    from imagesdk.emulator.server import Emulator, serve
    from imagesdk.emulator.state import EmulatorState
    from imagesdk.emulator.webhooks import WEBHOOK_SECRET

__all__ = [
    "WEBHOOK_SECRET",
    "Emulator",
    "EmulatorOptions",
    "EmulatorState",
    "Fault",
    "Faults",
    "RequestRecord",
    "create_app",
    "serve",
]

_HOMES = {
    "WEBHOOK_SECRET": "webhooks",
    "Emulator": "server",
    "EmulatorOptions": "options",
    "EmulatorState": "state",
    "Fault": "faults",
    "Faults": "faults",
    "RequestRecord": "log",
    "create_app": "app",
    "serve": "server",
}
_EXTRA = frozenset({"starlette", "uvicorn", "python_multipart", "PIL"})


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        module = import_module(f"{__name__}.{home}")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        message = (
            f"the emulator needs {error.name!r}, which is not installed; "
            "install the extra from the checkout: pip install '.[emulator]'"
        )
        raise ModuleNotFoundError(message, name=error.name) from error
    return getattr(module, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
