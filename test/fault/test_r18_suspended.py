# SPDX-License-Identifier: Apache-2.0
"""R18: the router is suspended and goes on later. What it waited for has come meanwhile: nobody is taken for
dead because nobody was there to read the answer."""

import random
import signal
import time

import pytest

from harness import faults
from harness.load import Load, tally
from harness.wait import until

ENTRIES = 40


class Slow:
    """A babysitter for all entries that thinks for a while, so that a round is under way most of the time."""

    def __init__(self, bench, seconds):
        def answer(c):
            if c.method == "GET":
                time.sleep(seconds)
            c.reply({"infinilm_server_ready": True})

        self.engine = bench.engine(answer, gets=False)
        self.url = f"{self.engine.url}/health"


def suspended(bench, times, seconds, rate=50):
    """Outcomes of the load, and what fell."""
    babysitter = Slow(bench, 0.3)
    mock = bench.mock("real", models=("tiny",))
    rows = [{"name": f"e{i}", "host": "127.0.0.1", "port": 20000 + i, "weight": 0, "health_url": babysitter.url,
             "metadata": {"type": "openai-api", "models": ["other"]}} for i in range(ENTRIES)]
    rows.append({"name": "real", "host": "127.0.0.1", "port": int(mock.address.rpartition(":")[2]), "health_url": babysitter.url,
                 "metadata": {"type": "openai-api", "models": ["tiny"]}})
    router = bench.router(static=rows, args=["--health-interval", "1", "--health-timeout", "2"])
    router.wait_healthy(*[r["name"] for r in rows])
    dice = random.Random(18)
    with Load(router.address, rate=rate, limit=seconds + 30) as load:
        for _ in range(times):
            time.sleep(dice.uniform(0.5, 1.5))
            router.signal(signal.SIGSTOP)
            time.sleep(seconds)
            router.signal(signal.SIGCONT)
            until(lambda: router.ask("GET", "/health").status == 200, "it goes on", 5)
            assert {s["probed"] for s in router.services().values()} == {"good"}
    log = router.log()
    fell = [line for line in log.splitlines() if "engine ejected" in line or "circuit is open" in line]
    return load.outcomes, fell


@pytest.mark.fault
def test_nobody_expires(bench):
    outcomes, fell = suspended(bench, 4, 3)
    assert not fell, fell
    bad = [o for o in outcomes if not o.good]
    assert not bad, f"{tally(outcomes)}: {bad[:3]}"


@pytest.mark.fault
@pytest.mark.full
def test_five_minutes(bench):
    outcomes, fell = suspended(bench, 1, 300, rate=5)
    more, also = suspended(bench, 20, 3)
    bad = [o for o in [*outcomes, *more] if not o.good]
    faults.record(18, f"the router stopped (SIGSTOP) for 300 s, then 20 times for 3 s, under 5 and 50 requests a second, with "
                  f"{ENTRIES + 1} engines probed every second", "0 wrongly expired", "the same",
                  f"{len(fell) + len(also)} of {ENTRIES + 1} engines fell, {len(bad)} failed of {len(outcomes) + len(more):,}",
                  "moonshot" if not (fell or also or bad) else "minimum", "")
    assert not fell and not also and not bad
