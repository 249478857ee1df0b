"""JSON of the kind that servers answer with, put together by chance."""

from __future__ import annotations

from hypothesis import strategies as st

leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(
        ["Limit: 0", "try again in 3s", "insufficient_quota", "moderation_blocked", 253402300799]
    )
)
NAMES = (
    "error message detail code type param msg loc data url b64_json created usage input_tokens "
    "input_tokens_details moderation_details categories size"
)
names = st.sampled_from(NAMES.split())
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
    max_leaves=10,
)
documents = values | st.dictionaries(names, values, max_size=5)
