"""How the outcome of the official clients' own tests is judged: every difference is expected, with the error that it gives."""

from tests.peers.expected import EXPECTED, Otherwise, compare

EXPECTATIONS = (
    Otherwise("edit", "Unknown parameter", reason="x"),
    Otherwise("vary", "Value must", reason="y"),
)


def test_a_failure_counts_as_expected_only_with_the_expected_error() -> None:
    failures = {"edit all": "400 Unknown parameter: 'a'", "edit one": "500", "generate": "Unknown parameter"}
    surprising, unmet = compare(failures, EXPECTATIONS)
    assert surprising == ["edit one", "generate"]
    assert unmet == ["vary"]


def test_every_difference_has_a_reason() -> None:
    assert all(one.reason for listed in EXPECTED.values() for one in listed)
    assert set(EXPECTED) == {"python", "node"}
