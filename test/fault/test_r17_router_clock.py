# SPDX-License-Identifier: Apache-2.0
"""R17, the router: the clock steps by an hour, back, by years, and at random. Rounds of probes keep their pace,
no engine falls, and an open breaker is neither early nor late."""

import random
import re
import time

import pytest

from harness import net
from harness.clock import Clock
from harness.load import Load, tally
from harness.wait import SLOW, Stopwatch, until

HOUR, TEN_YEARS = 3600, 315_576_000


def turn_about(clock, times):
    for shift in (HOUR, 0, -HOUR, 0, TEN_YEARS, -TEN_YEARS, 0):
        clock.turn(shift)
        time.sleep(0.3)
    dice = random.Random(17)
    for _ in range(times):
        clock.turn(dice.choice((HOUR, -HOUR, dice.randrange(-TEN_YEARS, TEN_YEARS))))
        time.sleep(0.1)
    clock.turn(0)


@pytest.mark.fault
def test_the_clock_steps_under_a_router(bench):
    clock = Clock(bench.folder)
    sitters = [bench.sitter(name=n, models=("tiny",), mock_args=["--tokens-per-second", "0"]) for n in ("a", "b")]
    for one in sitters:
        one.wait_state("ready")
    rows = [{"name": s.sitter_name, "host": "127.0.0.1", "port": s.engine_port,
             "metadata": {"type": "openai-api", "models": ["tiny"]}} for s in sitters]
    dead = {"name": "dead", "host": "127.0.0.1", "port": net.free_port(), "health_url": "none",
            "metadata": {"type": "openai-api", "models": ["dead"]}}
    router = bench.router(static=[*rows, dead], args=["--health-interval", "1"], env={"INFERD_LOG": "debug", **clock.env()})
    router.wait_healthy("a", "b", "dead")
    rounds = router.log().count("Health check completed")
    watch = Stopwatch()
    with Load(router.address, rate=50) as load:
        turn_about(clock, 30)
    made, seconds = router.log().count("Health check completed") - rounds, watch.seconds()
    assert seconds - 2 * SLOW <= made <= seconds + 2, f"{made} rounds in {seconds:.1f} s"
    bad = [o for o in load.outcomes if not o.good]
    assert not bad, f"{tally(load.outcomes)}: {bad[:3]}"
    assert "engine ejected" not in router.log() and "circuit is open" not in router.log()
    assert len(set(re.findall(r"^(\d{4})-", router.log(), re.M))) > 1, "the router saw another clock"
    clock.turn(HOUR)
    opened = Stopwatch()
    assert router.chat("dead").status == 503
    clock.turn(-HOUR)
    until(lambda: router.services()["dead"]["traffic"] == "open", "open", 2)
    bench.mock("dead", models=("dead",), port=dead["port"])
    until(lambda: router.services()["dead"]["traffic"] == "half-open", "tried after a second or three", 6)
    assert 0.5 <= opened.seconds() < 3.5 + 1.5 * SLOW
    assert router.chat("dead").status == 200
