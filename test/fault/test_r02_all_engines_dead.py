# SPDX-License-Identifier: Apache-2.0
"""R2: all engines are dead, and back after 5 s. Requests that may wait do, and are all served when the first
comes back; those that may not are told at once. Nobody hangs."""

import os
import time

import pytest

from harness import faults
from harness.load import Load, tally
from harness.wait import SLOW, until

BACK_S = 5


def start(bench, *args):
    sitters = [bench.sitter(name=n, models=("tiny",), mock_args=["--tokens-per-second", "0"],
                            config={"babysitter": {"restart_delay": BACK_S}}) for n in ("a", "b")]
    for one in sitters:
        one.wait_state("ready")
    static = [{"name": s.sitter_name, "host": "127.0.0.1", "port": s.engine_port,
               "metadata": {"type": "openai-api", "models": ["tiny"]}} for s in sitters]
    router = bench.router(static=static, args=args)
    router.wait_healthy("a", "b")
    return sitters, router


def kill(sitters):
    for one in sitters:
        os.kill(one.child(), 9)


def die_and_return(sitters, router, rate=50):
    """(outcomes, seconds from their return to the first request served)."""
    with Load(router.address, rate=rate, limit=40) as load:
        time.sleep(1)
        kill(sitters)
        until(lambda: router.services()["a"]["probed"] == "bad", "probes say so", 5)
        until(lambda: {s.state() for s in sitters} == {"ready"}, "they are back", BACK_S + 10)
        back = time.monotonic()
        until(lambda: any(o.good and o.due + o.seconds > back for o in load.outcomes), "somebody is served", 10)
    failed = [o for o in load.outcomes if not o.good]
    # Who had tried both had nobody left to wait for; they are as many as were under way just then.
    assert len(failed) <= rate, f"{tally(load.outcomes)}: {failed[:3]}"
    assert all(b'"upstream_' in o.body or b"last error" in o.body for o in failed), failed
    assert max(o.seconds for o in load.outcomes) > BACK_S / 2, "they waited"
    return load.outcomes, min(o.due + o.seconds for o in load.outcomes if o.due + o.seconds > back) - back


@pytest.mark.fault
def test_requests_wait_for_their_return(bench):
    _, seconds = die_and_return(*start(bench, "--queue-wait", str(int(30 * SLOW))))
    assert seconds < 2 * SLOW, f"{seconds:.1f} s"


@pytest.mark.fault
def test_who_may_not_wait_is_told(bench):
    sitters, router = start(bench)
    kill(sitters)
    until(lambda: router.chat().status == 503, "nobody left", 5)
    for _ in range(20):
        began = time.monotonic()
        reply = router.chat()
        if reply.status == 200:
            break  # back already
        assert reply.status == 503 and reply["retry-after"] == "5", reply
        assert reply.error()["code"] in ("no_healthy_service", "upstream_refused"), reply
        assert time.monotonic() - began < 1 * SLOW
    until(lambda: {s.state() for s in sitters} == {"ready"}, "they are back", BACK_S + 10)
    began = time.monotonic()
    until(lambda: router.chat().status == 200, "served again", 4)
    assert time.monotonic() - began < 2 * SLOW


@pytest.mark.fault
@pytest.mark.full
def test_five_times(bench):
    outcomes, slowest = [], 0.0
    for _ in range(5):
        sitters, router = start(bench, "--queue-wait", "30")
        more, seconds = die_and_return(sitters, router, rate=60)
        outcomes += more
        slowest = max(slowest, seconds)
        bench.finish()
    failed = [o for o in outcomes if not o.good]
    assert slowest < 2
    faults.record(2, f"both engines of a router killed at once, back after {BACK_S} s, under 60 requests a second that may wait for "
                  "30 s, 5 times", "no hang; recovery 2 s after the first good probe", "500 ms; every request that could wait succeeds",
                  f"served {faults.ms(slowest)} after their return at the latest, {len(failed)} failed of {len(outcomes):,}, which "
                  "had met both engines dead", "moonshot" if slowest < 0.5 else "minimum",
                  "" if slowest < 0.5 else "a bad engine is probed again after 1, 2, 4 s, at most the interval")
