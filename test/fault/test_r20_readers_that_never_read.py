# SPDX-License-Identifier: Apache-2.0
"""R20: clients ask for endless streams and never read. Each may hold a fixed amount of memory, ours and the
kernel's, the engine is not read on their behalf, nobody else waits longer for them, and they are cut when the
stall deadline comes."""

import re
import subprocess
import time

import pytest

from harness import faults
from harness.load import Load, percentile, tally
from harness.wait import SLOW, Stopwatch, until

USER_KB, KERNEL_KB = 64, 256  # a stream at most
BETTER_USER_KB, BETTER_KERNEL_KB = 16, 96


def start(bench, **limits):
    flood = bench.mock("flood", models=("flood",), args=["--tokens-per-second", "0", "--repeat", "100000"])
    quick = bench.mock("quick", args=["--latency-ms", "5"])
    return flood, bench.up(faults.config(remotes=[faults.remote("flood", flood.url, models=("flood",)),
                                                  faults.remote("quick", quick.url)], **limits), env=faults.SANDBOXED)


def kernel_kb(gateway, engine):
    """What the kernel holds in the gateway's sockets: towards its clients and towards that engine."""
    total = 0
    for where in (f"sport = :{gateway.address.rpartition(':')[2]}", f"dport = :{engine.address.rpartition(':')[2]}"):
        said = subprocess.run(["ss", "-Htmn", "state", "established", where], capture_output=True, text=True, check=True).stdout
        for r, w, f in re.findall(r"skmem:\(r(\d+),rb\d+,t\d+,tb\d+,f(\d+),w(\d+)", said):
            total += int(r) + int(w) + int(f)
    return total / 1024


def settled(measure, seconds=20.0):
    """The value once it has stopped growing."""
    last, since = measure(), time.monotonic()

    def still():
        nonlocal last, since
        now = measure()
        if now > last * 1.005:
            last, since = now, time.monotonic()
        return time.monotonic() - since > 0.7

    until(still, "it has stopped growing", seconds, every=0.1)
    return measure()


def load(gateway, seconds):
    with Load(gateway.address, rate=200) as made:
        time.sleep(seconds)
    assert all(o.good for o in made.outcomes), tally(made.outcomes)
    return [o.seconds for o in made.outcomes]


def run(bench, n, seconds, stall_ms):
    """Returns kB a stream (ours, the kernel's), others' times without and with them, and when they were gone."""
    flood, gateway = start(bench, stream_stall_ms=stall_ms)
    load(gateway, 0.5)  # what it keeps for good is there
    before = load(gateway, seconds)
    pid = gateway.gateway_pid()
    rss, fds = faults.rss_kb(pid), faults.descriptors(pid)
    watch = Stopwatch()
    readers = [gateway.open_chat("flood") for _ in range(n)]
    until(lambda: gateway.metric("inferd_requests_in_flight") == n, "all streams are under way", 20)
    until(lambda: flood.health()["active"] == n, "the engine has them all", 20)
    kernel = settled(lambda: kernel_kb(gateway, flood)) / n
    user = (faults.rss_kb(pid) - rss) / n
    during = load(gateway, seconds)
    assert gateway.metric("inferd_requests_in_flight") >= n, "they were cut before it was measured: raise stall_ms"
    until(lambda: gateway.metric("inferd_limit_stream_stall_ms_total") == n, "all are cut", stall_ms / 1000 + 20)
    gone = watch.seconds()
    faults.wait_idle(gateway, 5)
    faults.wait_descriptors(pid, fds + 2)
    for c in readers:
        c.close()
    return user, kernel, before, during, gone


@pytest.mark.fault
def test_40_readers_that_never_read(bench):
    user, kernel, _, _, gone = run(bench, 40, 0.5, 14000)
    assert user <= 2 * USER_KB and kernel <= KERNEL_KB, f"{user:.0f} kB and {kernel:.0f} kB a stream"
    assert gone < 14 + 15 * SLOW


@pytest.mark.fault
@pytest.mark.full
def test_1000_readers_that_never_read(bench):
    user, kernel, before, during, gone = run(bench, 1000, 10, 60000)
    was, now = percentile(before, 99), percentile(during, 99)
    more = max(0.0, now - was)
    minimum = user <= USER_KB and kernel <= KERNEL_KB and more <= 0.005
    best = user <= BETTER_USER_KB and kernel <= BETTER_KERNEL_KB and minimum
    faults.record(
        20, "1,000 clients that ask for endless streams and never read, under 200 requests a second of others",
        "64 kB of ours and 256 kB of the kernel's a stream; others' p99 +5 ms", "16 kB and 96 kB",
        f"{user:.1f} kB and {kernel:.0f} kB a stream; others' p99 {faults.ms(was)} before, {faults.ms(now)} meanwhile; all cut "
        f"{gone - 60:.1f} s after stream_stall_ms, counted from the first one's request", "moonshot" if best else "minimum" if minimum else "missed",
        "" if best else "one read of an engine that floods is 64 kB, and the kernel counts a buffer by its pages")
    assert user <= USER_KB and kernel <= KERNEL_KB
