# SPDX-License-Identifier: Apache-2.0
"""R27: no descriptor is left. First in the way a flood of clients brings it about: 2,000 connections to a gateway that
may have 256 descriptors. It keeps some for engines and the operator, refuses or leaves waiting who comes then, spends no
time on them, and serves at once when they are gone. Then in earnest: the limit is taken below what is open, so that
every accept fails with EMFILE, for ten seconds."""

import resource
import socket
import threading
import time

import pytest

from harness import faults, raw
from harness.gateway import Gateway
from harness.load import percentile
from harness.tree import cpu_seconds, limit_descriptors
from harness.wait import SLOW, Stopwatch, until

LIMIT = 256


class Poor(Gateway):
    """A gateway that may have 256 descriptors."""

    def wrap(self, command):
        return ["sh", "-c", f'ulimit -n {LIMIT}; exec "$@"', "sh", *map(str, command)]


def start(bench, **limits):
    quick = bench.mock("quick", args=["--latency-ms", "5"])
    return bench.register(Poor.__new__(Poor), bench.new_folder("up"), 
                          config=faults.config(remotes=[faults.remote("quick", quick.url)], **limits),
                          env=faults.SANDBOXED)


class Watch(threading.Thread):
    """The operator's questions, each on a connection of its own; how long each answer took."""

    def __init__(self, gateway):
        super().__init__(daemon=True)
        self.gateway, self.over, self.took, self.problems = gateway, threading.Event(), [], []

    def run(self):
        while not self.over.wait(0.1):
            watch = Stopwatch()
            try:
                assert raw.get(self.gateway.control, "/status").status == 200
                self.took.append(watch.seconds())
            except (OSError, AssertionError) as e:
                self.problems.append(repr(e))

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.join()


def flood(address, n):
    host, _, port = address.rpartition(":")
    made = []
    for _ in range(n):
        s = socket.socket()
        s.setblocking(False)
        s.connect_ex((host, int(port)))
        made.append(s)
    return made


def served_again(gateway, gone):
    """Seconds from the moment when the attackers left to the first answer."""
    until(lambda: gateway.get("/health").status == 200, "it serves", 10, every=0.005)
    return time.monotonic() - gone


def run_flood(bench, n, seconds):
    gateway = start(bench)
    pid = gateway.gateway_pid()
    assert gateway.chat().status == 200
    with Watch(gateway) as operator:
        attackers = flood(gateway.address, n)
        time.sleep(0.5)
        cpu = cpu_seconds(pid)
        time.sleep(seconds)
        share = (cpu_seconds(pid) - cpu) / seconds
        most = faults.descriptors(pid)
    for s in attackers:
        s.close()
    recovery = served_again(gateway, time.monotonic())
    assert not operator.problems, operator.problems[:3]
    assert most < LIMIT, "nothing was kept for others"
    assert gateway.chat().status == 200
    return share, operator.took, recovery, most


def unread(c):
    """Bytes that the kernel holds for the other end of a connection on loopback."""
    own, other = (f":{s[1]:04X}" for s in (c.socket.getsockname(), c.socket.getpeername()))
    with open("/proc/net/tcp", encoding="utf-8") as f:
        rows = [line.split() for line in f]
    return next(int(row[4].partition(":")[2], 16) for row in rows if row[1].endswith(other) and row[2].endswith(own))


def run_emfile(bench, seconds):
    gateway = start(bench, head_ms=60000)
    pid = gateway.gateway_pid()
    with gateway.open(60) as kept:
        kept.request("POST", "/v1/chat/completions", json_body={"model": "tiny", "messages": []})
        assert kept.reply().status == 200
        kept.send(b"GET /health HTTP/1.1\r\n")  # at work, so that it is not closed to make room
        until(lambda: unread(kept) == 0, "the gateway has read it")
        limit_descriptors(pid, faults.descriptors(pid) - 1)
        waiting = flood(gateway.address, 50)
        cpu = cpu_seconds(pid)
        time.sleep(seconds)
        share = (cpu_seconds(pid) - cpu) / seconds
        kept.send(b"Host: localhost\r\n\r\n")
        assert kept.reply("GET").status == 200
        watch = Stopwatch()
        limit_descriptors(pid, LIMIT)
        recovery = served_again(gateway, time.monotonic() - watch.seconds())
    for s in waiting:
        s.close()
    return share, recovery


@pytest.fixture
def many(request):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.fault
def test_a_flood_beyond_the_descriptors(bench, many):
    share, took, recovery, _ = run_flood(bench, 600, 2)
    assert share < 0.2 * SLOW and percentile(took, 50) < 0.1 * faults.SLACK and recovery < 1 * faults.SLACK


@pytest.mark.fault
def test_emfile(bench):
    share, recovery = run_emfile(bench, 2)
    assert share < 0.2 * SLOW and recovery < 1 * faults.SLACK


@pytest.mark.fault
@pytest.mark.full
def test_no_descriptors_for_10_s(bench, many):
    share, took, recovery, most = run_flood(bench, 2000, 10)
    spin, back = run_emfile(bench, 10)
    answered = max(took)
    minimum = share < 0.2 and spin < 0.2 and answered < 0.1 and recovery <= 1 and back <= 1
    best = minimum and recovery <= 0.1 and back <= 0.1
    faults.record(
        27, "2,000 connections to a gateway that may have 256 descriptors, for 10 s; then every accept failing with EMFILE for 10 s",
        "less than 20 % of a processor; the admin side answers within 100 ms; served again within 1 s", "within 100 ms",
        f"flood: {share * 100:.0f} % of a processor, {most} of 256 descriptors taken, admin answers at most {faults.ms(answered)}, served "
        f"again {faults.ms(recovery)} after they left; EMFILE: {spin * 100:.0f} %, who was there served meanwhile, newcomers again "
        f"{faults.ms(back)} after it", "moonshot" if best else "minimum" if minimum else "missed",
        "" if best else "refused clients that stay are waited for, two seconds at most" if recovery > 0.1 else "the load shares the processors")
    assert minimum
