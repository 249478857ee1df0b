"""Measurements of imagesdk against the official client: ``python -m tests.benchmarks --help``.

Not part of the test run. A scenario lives in a module ``bench_*.py`` and gives cases; a case is one piece of work
that several contenders do in turn, each time in a fresh process pinned to one core, against a server of ours
pinned to another. The rule: everything is read against the official client in the same run, because absolute
numbers belong to a machine and a moment.
"""
