"""The words of the asynchronous clients in those of the blocking ones: names, docstrings, examples.

Only text is worked on here; which members there are is read in ``reading.py``. Rules: an example that is valid
Python stays valid Python; a name of somebody else's (``httpx.AsyncClient``) stays what it is; a phrase that no
docstring has any more is an error, so that this table cannot go stale.
"""

import re
from collections.abc import Sequence

METHODS = {
    "aclose": "close",
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "__aiter__": "__iter__",
    "__anext__": "__next__",
}
"""Members that have another name in the blocking class."""

PHRASES = {
    "for asyncio and trio.": "for code without an event loop.",
    "It may be used from several tasks at once, in several event loops one after the other,": (
        "It may be used from several threads at once, beside a running event loop and in forked processes,"
    ),
}
"""What is true of the asynchronous clients only, and what is said of the blocking ones instead."""

_RULES = [
    (re.compile(r"\basync (?=(?:with|for|def)\b)"), ""),
    (re.compile(r"\bawait "), ""),
    (re.compile(r"\b(?:asyncio|anyio|trio)\.run\((\w+)(?:\(\))?\)"), r"\1()"),
    *((re.compile(rf"\b{old}\b"), new) for old, new in METHODS.items()),
]


def blocking_name(name: str) -> str:
    """Return the facade's name for a class: ``AsyncClient`` becomes ``Client``."""
    return name.removeprefix("Async")


class Translator:
    """Says of the blocking classes what a text says of the asynchronous ones."""

    def __init__(self, classes: Sequence[str], phrases: dict[str, str]) -> None:
        # With the article before it: an ``AsyncClient``, a ``Client``.
        names = "|".join(map(re.escape, classes))
        self._name = re.compile(rf"(?:\b([Aa])n (\W{{0,3}}))?(?<![\w.])({names})\b")
        self._phrases = {phrase: (_anyhow_wrapped(phrase), new) for phrase, new in phrases.items()}
        self.unused = set(phrases)
        """The phrases that have not come up."""

    def translate(self, text: str) -> str:
        """Return the text for the blocking classes."""
        for phrase, (pattern, replacement) in self._phrases.items():
            text, count = pattern.subn(replacement, text)
            if count:
                self.unused.discard(phrase)
        for pattern, replacement in _RULES:
            text = pattern.sub(replacement, text)
        return self._name.sub(_blocking, text)


def _blocking(found: re.Match[str]) -> str:
    article, quote, name = found.groups()
    name = blocking_name(name)
    if article is None:
        return name
    return f"{article}{'n' if name[0] in 'AEIOU' else ''} {quote}{name}"


def _anyhow_wrapped(phrase: str) -> re.Pattern[str]:
    return re.compile(r"\s+".join(re.escape(word) for word in phrase.split()))
