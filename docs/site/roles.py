"""Extension of griffe: cross-references such as ``:class:`Client``` become code."""

import re
from typing import Any

import griffe

_ROLE = re.compile(r":\w+:`[~.!]*([^`]+)`")


class PlainRoles(griffe.Extension):
    """Replaces the roles in every docstring."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of an object."""
        if obj.docstring is not None:
            obj.docstring.value = _ROLE.sub(r"`\1`", obj.docstring.value)
