"""Translation of signatures, docstrings and examples from the asynchronous classes to the blocking ones.

Rules: an example that is valid Python stays valid Python; names of other packages (``httpx.AsyncClient``) stay as
they are; a phrase of the table that no docstring contains is an error, so the table cannot become stale.
"""

import re
from collections.abc import Iterable, Mapping

METHODS = {
    "aclose": "close",
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "__aiter__": "__iter__",
    "__anext__": "__next__",
}
"""Members with another name in the blocking class."""

PHRASES = {
    "for asyncio and trio.": "for code without an event loop.",
    "It may be used from several tasks at once, in several event loops one after the other,": (
        "It may be used from several threads at once, beside a running event loop and in forked processes,"
    ),
    "Close the connections of the running event loop. The client can be used again.": (
        "Close the connections and cancel the running calls. The client cannot be used again."
    ),
}
"""Sentences that hold for the asynchronous classes only, and their replacements."""

_RULES = [
    (re.compile(r"\basync (?=(?:with|for|def)\b)"), ""),
    (re.compile(r"\(await (.+)\)(?=\.)"), r"\1"),
    (re.compile(r"\bawait "), ""),
    (re.compile(r"\bAbstractAsyncContextManager\b"), "AbstractContextManager"),
    *((re.compile(rf"\b{old}\b"), new) for old, new in METHODS.items()),
]


def blocking_name(name: str) -> str:
    """Return the name of the blocking class: ``AsyncClient`` becomes ``Client``."""
    return name.removeprefix("Async")


class DocstringTranslator:
    """Translator for texts that name the given asynchronous classes."""

    def __init__(self, classes: Iterable[str], phrases: Mapping[str, str]) -> None:
        # With the article before the name: an ``AsyncClient``, a ``Client``.
        names = "|".join(map(re.escape, classes))
        self._name = re.compile(rf"(?:\b([Aa])n (\W{{0,3}}))?(?<![\w.])({names})\b")
        spaced = {phrase: r"\s+".join(map(re.escape, phrase.split())) for phrase in phrases}
        self._phrases = {phrase: (re.compile(spaced[phrase]), new) for phrase, new in phrases.items()}
        self.unused = set(phrases)
        """The phrases that no text has contained so far."""

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
    return f"{article}{'n' if name[0] in 'AEIOU' else ''} {quote}{name}" if article else name
