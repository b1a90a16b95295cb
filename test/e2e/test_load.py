# SPDX-License-Identifier: Apache-2.0
"""harness/load.py: the load that judges others is judged here, against engines that do as told."""

import threading
import time

from harness import fake, net
from harness.load import Load, Streams, chat_body, rush, tally
from harness.wait import SLOW, until


def test_open_loop_keeps_its_rate(bench):
    engine = bench.engine()
    with Load(f"127.0.0.1:{engine.port}", rate=200, kept=0.5, count=200) as load:
        began = time.monotonic()
        outcomes = load.join()
    assert 0.9 < time.monotonic() - began < 5 * SLOW
    assert tally(outcomes) == {"200": 200} and len(engine.requests) == 200
    assert all(o.framing == "length" and b'"chat.completion"' in o.body for o in outcomes)
    fresh = sum(not o.reused for o in outcomes)
    assert 100 <= fresh < 200, "some of the kept half found a kept connection"
    assert engine.connections == fresh, "the others have one each"


def test_time_counts_from_when_a_request_was_due(bench):
    """An engine that sleeps is seen by every request that was due meanwhile, not by one."""
    gate = threading.Event()

    def script(c):
        gate.wait(10 * SLOW)
        fake.answer_chat(c)

    engine = bench.engine(script)
    with Load(f"127.0.0.1:{engine.port}", rate=100) as load:
        until(lambda: len(engine.requests) >= 50, "50 requests wait")
        gate.set()
    slow = [o for o in load.outcomes if o.seconds > 0.1]
    assert len(slow) >= 30 and all(o.good for o in load.outcomes)
    assert max(o.seconds for o in slow) > 0.4


def test_refused_and_cut_are_told_apart(bench):
    port = net.free_port()
    with Load(f"127.0.0.1:{port}", rate=200, count=10) as load:
        load.join()
    assert tally(load.outcomes) == {"refused": 10}

    def cut(c):
        c.send(c.head_of(200, [("Content-Length", "100")]) + b"half")
        c.rst()

    engine = bench.engine(cut)
    with Load(f"127.0.0.1:{engine.port}", rate=200, count=10) as load:
        load.join()
    assert len(load.outcomes) == 10 and not any(o.good or o.refused for o in load.outcomes)
    assert all(o.status == 200 and not o.whole for o in load.outcomes), load.outcomes


def test_a_kept_connection_closed_meanwhile_is_asked_again(bench):
    def script(c):
        fake.answer_chat(c)
        c.fin()

    engine = bench.engine(script)
    with Load(f"127.0.0.1:{engine.port}", rate=100, kept=1.0, count=50) as load:
        load.join()
    assert tally(load.outcomes) == {"200": 50}


def test_ends_of_streams(bench):
    def script(c):
        kind = c.json()["user"]
        c.stream_head()
        c.token("x")
        if kind == "done":
            c.done()
        elif kind == "told":
            c.event({"error": {"code": "upstream_disconnected"}})
            c.fin()
        elif kind == "silent":
            c.fin()
        elif kind == "clean-end":
            c.send(b"0\r\n\r\n")
        elif kind == "error-and-clean-end":
            c.event({"error": {"code": "x"}})
            c.send(b"0\r\n\r\n")
        elif kind == "done-and-cut":
            c.event("[DONE]")
            c.fin()

    engine = bench.engine(script)
    kinds = {"done": "done", "told": "told", "silent": "silent", "clean-end": "lie", "error-and-clean-end": "lie",
             "done-and-cut": "lie"}
    for kind, expected in kinds.items():
        found = rush(f"127.0.0.1:{engine.port}", [chat_body(stream=True, user=kind)] * 5, at_once=2)
        assert [o.stream_end() for o in found] == [expected] * 5, (kind, found)


def test_streams_are_held_open(bench):
    gate = threading.Event()

    def script(c):
        c.stream_head()
        c.token("x")
        gate.wait(10 * SLOW)
        c.done()

    engine = bench.engine(script)
    streams = Streams(f"127.0.0.1:{engine.port}", 20)
    until(lambda: streams.talking() == 20, "20 streams talk")
    gate.set()
    assert [o.stream_end() for o in streams.join()] == ["done"] * 20
