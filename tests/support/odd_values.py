"""JSON values of any kind, for the parameters of jobs."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

_ODD: list[Any] = [
    *(10**30, 2**63, 10**400, -1, 0, 1.5, float("nan"), float("inf"), True),
    *("\ud800", "\0", "a" * 300, "9" * 5000 + "x1", "1024x1024", "auto", "low"),
    *({}, [], {"\ud800": 1}, {"reasoning": {"effort": []}}, [[[]]], ["a"]),
]
_simple = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(_ODD)
)
json_values: st.SearchStrategy[Any] = st.recursive(
    _simple,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
