"""Trials that run for longer than the tests do: ``python -m tests.soak --help``.

Not part of the test run. A trial is a module that does one kind of harm to the package, thousands of times, and counts
what came of it; each runs in a process of its own, which has to end in time, with nothing on its standard error. What
is random comes from a seed and a number, so that what failed can be made to fail again.
"""
