# SPDX-License-Identifier: Apache-2.0
"""A19: three times what the engines can do, in an open loop. What can be done is done, nobody waits beyond queue_ms,
who is refused is told its place and when to come back, and memory stays where it was."""

import pytest

from harness import faults
from harness.load import Load, percentile, tally

SLOTS, LATENCY_MS, QUEUE_MS = 4, 50, 1000
CAPACITY = SLOTS * 1000 / LATENCY_MS  # requests a second


def run(bench, seconds):
    engine = bench.mock("engine", args=["--latency-ms", str(LATENCY_MS)])
    gateway = bench.up(faults.config(remotes=[faults.remote("engine", engine.url, slots=SLOTS)], queue_ms=QUEUE_MS), env=faults.SANDBOXED)
    rate = 3 * CAPACITY
    with Load(gateway.address, rate=rate, count=int(rate * 2)) as warm:
        warm.join()
    pid = gateway.gateway_pid()
    rss = faults.rss_kb(pid)
    with Load(gateway.address, rate=rate, count=int(rate * seconds)) as load:
        load.join()
    grown = faults.rss_kb(pid) / rss - 1
    outcomes = load.outcomes
    served = [o for o in outcomes if o.good]
    refused = [o for o in outcomes if o.status == 503 and o.whole]
    assert len(served) + len(refused) == len(outcomes), tally(outcomes)
    assert all(int(o.fields["retry-after"]) >= 1 and int(o.fields["x-inferd-queue-position"]) >= 1 for o in refused)
    faults.wait_idle(gateway, 5)
    last = max(o.due + o.seconds for o in served) - min(o.due for o in outcomes)
    return len(served) / (last * CAPACITY), [o.due + o.seconds - o.began for o in served], grown


@pytest.mark.fault
def test_three_times_what_can_be_done(bench):
    goodput, waits, grown = run(bench, 4)
    assert goodput >= 0.5 and grown < 0.3, f"{goodput:.2f} of capacity, memory {grown:+.0%}"
    assert max(waits) < (QUEUE_MS + LATENCY_MS) / 1000 + faults.SLACK


@pytest.mark.fault
@pytest.mark.full
def test_three_times_what_can_be_done_for_a_minute(bench):
    goodput, waits, grown = run(bench, 60)
    print(f"A19: {goodput:.3f} of capacity, waits p50 {faults.ms(percentile(waits, 50))}, max {faults.ms(max(waits))}, memory {grown:+.1%}")
    assert goodput >= 0.9 and abs(grown) <= 0.05
