"""The official clients' own tests of the Images API, run against the emulator: ``nox -s peers``.

Nothing of them is in this repository. ``python -m tests.peers python`` fetches the sdist of the installed ``openai``;
``python -m tests.peers node SOURCE`` takes the tests of ``openai-node`` from a clone or from GitHub, as the package on npm
has none, and runs them on the package. What the emulator answers otherwise than these tests expect is listed in
``expected`` with its reason.
"""
