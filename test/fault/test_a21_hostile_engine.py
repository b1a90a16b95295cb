# SPDX-License-Identifier: Apache-2.0
"""A21: 100,000 damaged replies; a short length of it is in test/e2e/test_hostile_engine.py. See harness/liar.py."""

import pytest

from harness import liar


@pytest.mark.fault
def test_a_lying_engine(bench):
    liar.run(bench, 1000, seed=2)


@pytest.mark.fault
@pytest.mark.full
def test_100000_damaged_replies(bench):
    for (kind, end), times in sorted(liar.run(bench, 100000, seed=3).items(), key=str):
        print(f"A21: {kind}: {end}: {times:,}", flush=True)
