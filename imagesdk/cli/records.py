"""``-v`` and ``--log-file``: where the log of the package goes."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Generator
from contextlib import contextmanager

_LINE = "%(asctime)s %(levelname)s %(message)s"


@contextmanager
def log_records(options: Namespace) -> Generator[None, None, None]:
    """Write the log to stderr and to a file, as the options say, until the block ends."""
    verbosity: int = getattr(options, "verbose", 0) or 0
    path: str | None = getattr(options, "log_file", None)
    if not verbosity and path is None:
        yield
        return

    import logging
    import sys

    logger = logging.getLogger("imagesdk")
    handlers: list[logging.Handler] = []
    if verbosity:
        console = logging.StreamHandler(sys.stderr)
        console.setFormatter(logging.Formatter("imagesdk: %(levelname)s: %(message)s"))
        console.setLevel(logging.DEBUG if verbosity > 1 else logging.INFO)
        handlers.append(console)
    if path is not None:
        file = logging.FileHandler(path, encoding="utf-8")
        file.setFormatter(logging.Formatter(_LINE))
        handlers.append(file)
    before = logger.level, logger.propagate
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    for handler in handlers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        logger.setLevel(before[0])
        logger.propagate = before[1]
        for handler in handlers:
            logger.removeHandler(handler)
            handler.close()
