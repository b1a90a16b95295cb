# SPDX-License-Identifier: Apache-2.0
"""R6: a client hangs up. The engine's request is cancelled, the slot is free, nothing leaks; and a
request that only waited never reaches an engine.

Hang-ups by FIN and by RST; in the middle of a stream, before the first byte of one, and before the
reply of a request that is no stream."""

import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness import fake, faults, raw
from harness.load import chat_body, percentile
from harness.wait import until

KINDS = [(ask, end) for ask in ("stream", "silent stream", "whole") for end in ("fin", "rst")]
AT_ONCE = 20


class Rig:
    """An engine that notes when the gateway let go of each request, by the request's user."""

    def __init__(self, bench):
        self.gone, self.asked = {}, {}
        self.lock = threading.Lock()
        self.engine = bench.engine(self.script)
        self.gateway = bench.up(faults.config(remotes=[faults.remote("one", self.engine.url, slots=2 * AT_ONCE)]),
                                env=faults.SANDBOXED)

    def script(self, c):
        user = c.json()["user"]
        if c.json()["temperature"] == 1:
            c.stream_head()
            c.token("x")
        with self.lock:
            self.asked[user] = True
        assert c.wait_gone(20), f"{user} was not cancelled"
        with self.lock:
            self.gone[user] = time.monotonic()

    def hang_up(self, i):
        """Seconds from the hang-up to the engine's end; None: never."""
        ask, end = KINDS[i % len(KINDS)]
        user = f"u{i}"
        c = raw.Connection(self.gateway.address)
        c.request("POST", "/v1/chat/completions", body=chat_body(
            stream=ask != "whole", user=user, temperature=1 if ask == "stream" else 0))
        if ask == "stream":
            c.head()
            until(lambda: b"data:" in c.waiting or c.more() and b"data:" in c.waiting, "the first event")
        else:
            until(lambda: user in self.asked, "the engine has it", every=0.001)
        began = time.monotonic()
        if end == "fin":
            c.socket.shutdown(socket.SHUT_WR)
        else:
            c.reset()
        gone = until(lambda: self.gone.get(user), f"{ask}, {end}: the engine's request ends", every=0.001)
        c.close()
        return gone - began

    def hang_ups(self, n):
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(self.hang_up, range(n)))


def run(bench, n):
    rig = Rig(bench)
    pid = rig.gateway.gateway_pid()
    rig.hang_ups(max(n // 10, 12))
    faults.wait_idle(rig.gateway)
    rig.gone.clear()
    rig.asked.clear()
    descriptors, rss = faults.descriptors(pid), faults.rss_kb(pid)
    canceled = rig.gateway.metric("inferd_canceled_total")
    seconds = rig.hang_ups(n)
    freed = faults.wait_idle(rig.gateway)
    left = faults.wait_descriptors(pid, descriptors) - descriptors
    assert rig.gateway.gateway_pid() == pid and len(seconds) == n
    assert rig.gateway.metric("inferd_canceled_total") - canceled == n
    return seconds, freed, left, faults.rss_kb(pid) - rss


@pytest.mark.fault
def test_client_hangs_up(bench):
    seconds, _, _, _ = run(bench, 120)
    assert max(seconds) < faults.SLACK


@pytest.mark.fault
def test_a_waiting_client_hangs_up(bench):
    """Its ticket goes; the engine never sees it; the next in line does."""
    hold = threading.Event()

    def script(c):
        hold.wait(20)
        fake.answer_chat(c)

    engine = bench.engine(script)
    gateway = bench.up(faults.config(remotes=[faults.remote("one", engine.url, slots=1)]), env=faults.SANDBOXED)
    first = gateway.open_chat(stream=False, user="first")
    until(lambda: len(engine.requests) == 1, "the slot is taken")
    waiting = [gateway.open_chat(stream=bool(i % 2), user=f"w{i}") for i in range(20)]
    until(lambda: gateway.metric("inferd_waiting") == 20, "20 wait")
    for i, c in enumerate(waiting):
        c.reset() if i % 3 else c.socket.shutdown(socket.SHUT_WR)
    until(lambda: gateway.metric("inferd_waiting") == 0, "nobody waits", 1)
    last = gateway.open_chat(stream=False, user="last")
    until(lambda: gateway.metric("inferd_waiting") == 1, "one waits")
    hold.set()
    assert first.reply().status == 200 and last.reply().status == 200
    assert [json.loads(c.body)["user"] for c in engine.requests] == ["first", "last"]
    faults.wait_idle(gateway)


@pytest.mark.fault
@pytest.mark.full
def test_10000_hang_ups(bench):
    seconds, freed, left, grown = run(bench, 10000)
    p99, flat = percentile(seconds, 99), grown < 1024
    quick = max(seconds) <= 0.1
    faults.record(
        6, "10,000 hang-ups, half by FIN, half by RST: in the middle of a stream, before its first byte, before a reply "
        "that is no stream", "engine's request cancelled within 1 s", "within 100 ms, 10,000 times; memory flat",
        f"10,000 cancelled, 0 descriptors left over, resident memory {grown:+,} kB; hang-up to the engine's end: median "
        f"{faults.ms(percentile(seconds, 50))}, p99 {faults.ms(p99)}, max {faults.ms(max(seconds))}",
        "moonshot" if quick and flat else "minimum" if max(seconds) <= 1 else "missed",
        "" if quick and flat else f"{sum(s > 0.1 for s in seconds)} of 10,000 took longer than 100 ms, as the test's own "
        f"threads saw it (they share the processors)" if not quick else f"memory grew by {grown:,} kB")
    assert left <= 0
