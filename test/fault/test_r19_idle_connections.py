# SPDX-License-Identifier: Apache-2.0
"""R19: kept connections that do nothing. Each is a small, fixed amount of memory, and whoever works does not
notice them: no timer runs through them, none of them wakes a thread."""

import resource
import socket
import time

import pytest

from harness import faults
from harness.load import Load, percentile, tally
from harness.tree import cpu_seconds
from harness.wait import until

HELLO = b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n"


def spoken(address, n):
    """Kept connections with a request behind them."""
    host, _, port = address.rpartition(":")
    made = []
    for _ in range(n):
        s = socket.create_connection((host, int(port)), 20)
        s.sendall(HELLO)
        made.append(s)
    for s in made:
        assert s.recv(4096).startswith(b"HTTP/1.1 200")
    return made


def load(gateway, seconds):
    with Load(gateway.address, rate=200, kept=1.0) as made:
        time.sleep(seconds)
    assert all(o.good for o in made.outcomes), tally(made.outcomes)
    return [o.seconds for o in made.outcomes]


def run(bench, n, seconds):
    """Returns bytes a connection, others' times without and with them, and the processor's share meanwhile."""
    quick = bench.mock("quick", args=["--latency-ms", "5"])
    gateway = bench.up(faults.config(remotes=[faults.remote("quick", quick.url)], connections=n + 200), env=faults.SANDBOXED)
    pid = gateway.gateway_pid()
    for s in spoken(gateway.address, 50):
        s.close()
    until(lambda: gateway.admin("/status")["connections"] == 0, "the first ones are gone")
    before = load(gateway, seconds)
    until(lambda: gateway.admin("/status")["connections"] == 0, "the load's are gone")
    rss = faults.rss_kb(pid)
    idle = spoken(gateway.address, n)
    until(lambda: gateway.admin("/status")["connections"] == n, "all are there", 20)
    each = (faults.rss_kb(pid) - rss) * 1024 / n
    cpu = cpu_seconds(pid)
    time.sleep(1.0)
    share = cpu_seconds(pid) - cpu
    during = load(gateway, seconds)
    assert gateway.metric("inferd_connections_shed_total") == 0
    for s in idle:
        s.close()
    until(lambda: gateway.admin("/status")["connections"] == 0, "all are gone", 20)
    return each, before, during, share


@pytest.mark.fault
def test_1000_idle_connections(bench):
    each, _, _, share = run(bench, 1000, 0.5)
    assert each <= 4096, f"{each:.0f} bytes a connection"
    assert share < 0.2, f"idle connections take {share:.2f} of a processor"


@pytest.mark.fault
@pytest.mark.full
def test_10000_idle_connections(bench):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    n = 10000 if hard >= 21000 else (hard - 1000) // 2
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        each, before, during, share = run(bench, n, 10)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    was, now = percentile(before, 99), percentile(during, 99)
    more = max(0.0, now - was)
    minimum, best = each <= 4096 and more <= 0.001, each <= 1024 and more <= 0.0001
    faults.record(
        19, f"{n:,} kept connections that idle behind one request each, under 200 requests a second of others",
        "4 kB of ours each; others' p99 +1 ms", "1 kB each; +0.1 ms",
        f"{each:,.0f} bytes each; others' p99 {faults.ms(was)} before, {faults.ms(now)} meanwhile; {share * 100:.0f} % of a processor "
        "in a second without requests", "moonshot" if best else "minimum" if minimum else "missed",
        "" if best else "the load shares the processors" if each <= 1024 else "a connection embeds its exchange, parser, two deadlines "
        "and its poll handle")
    assert each <= 4096
