"""A nightly batch of thousands of jobs, with everything in its way that a night has."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from random import Random

from tests.support.nights import TROUBLES, night


def run(seed: int, first: int, count: int) -> Counter[str]:
    chance = Random(f"{seed}/{first}")
    troubles = (*chance.sample(TROUBLES, len(TROUBLES)), *chance.sample(TROUBLES, len(TROUBLES)))
    with tempfile.TemporaryDirectory() as folder, night(count, Path(folder)) as batch:
        for trouble in troubles:
            batch.run(trouble, chance.randint(1, max(1, count // 30)))
        return batch.check(troubles)
