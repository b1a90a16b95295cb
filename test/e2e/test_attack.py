# SPDX-License-Identifier: Apache-2.0
"""Clients that want all of it: too many connections, of one address and in all, and too few descriptors
for them. Whoever behaves is served meanwhile, whoever does not is told or cut, and counted."""

import os
import select
import threading
import time

import pytest

from harness import fake, net, raw
from harness.gateway import remote
from harness.tree import cpu_seconds, limit_descriptors
from harness.wait import SLOW, Stopwatch, until


def up_with(bench, engine, limits, **more):
    return bench.up({"remote": [remote(engine)], "limits": limits}, **more)


def hits(up, setting):
    return up.metric(f"inferd_limit_{setting}_total")


# ---- connections of one address ----


@pytest.fixture
def foreign(network):
    """Addresses that are not loopback's."""
    if not network:
        pytest.skip("no network namespace to give addresses to")
    for address in ("10.9.0.1", "10.9.0.2", "fd00:9:0:1::1", "fd00:9:0:1::2", "fd00:9:0:2::1"):
        net.add_address(address)


def from_address(up, source):
    return up.open(source=source)


def served(c):
    c.request("GET", "/health")
    return c.reply("GET").status == 200


def test_connections_per_address(bench, foreign):
    up = up_with(bench, bench.engine(), {"connections_per_address": 5})
    held = [from_address(up, "10.9.0.1") for _ in range(5)]
    assert all(served(c) for c in held) and hits(up, "connections_per_address") == 0
    with from_address(up, "10.9.0.1") as c:  # one beyond it
        reply = c.reply("GET")
        assert reply.status == 429 and reply.error()["code"] == "rate_limit_exceeded", reply
        assert reply["retry-after"] == "5" and reply["connection"] == "close" and c.end() == "fin"
    assert hits(up, "connections_per_address") == 1
    with from_address(up, "10.9.0.2") as c:  # another address
        assert served(c)
    assert up.chat().status == 200
    held.pop().close()
    until(lambda: up.admin("/status")["connections"] == 4, "it has gone")
    held.append(from_address(up, "10.9.0.1"))
    assert served(held[-1]) and hits(up, "connections_per_address") == 1
    # Who does not go when told is told no more: sixteen at a time, then a close without a word.
    silent = [from_address(up, "10.9.0.1") for _ in range(60)]
    until(lambda: hits(up, "connections_per_address") == 61, "all are refused")
    assert up.admin("/status")["connections"] <= 5 + 16
    assert served(held[0]) and up.chat().status == 200
    for c in (*held, *silent):
        c.close()
    until(lambda: up.admin("/status")["connections"] == 0, "all are gone")
    with from_address(up, "10.9.0.1") as c:
        assert served(c)


def test_an_ipv6_client_is_its_64(bench, foreign):
    up = bench.up({"remote": [remote(bench.engine())], "listen": [{"address": "[::1]:0"}], "limits": {"connections_per_address": 2}})
    with from_address(up, "fd00:9:0:1::1") as a, from_address(up, "fd00:9:0:1::2") as b:
        assert served(a) and served(b)
        with from_address(up, "fd00:9:0:1::2") as c:
            assert c.reply("GET").status == 429
        with from_address(up, "fd00:9:0:2::1") as c:
            assert served(c)


def test_loopback_is_not_counted(bench):
    up = up_with(bench, bench.engine(), {"connections_per_address": 1})
    held = [up.open() for _ in range(40)]
    assert all(served(c) for c in held) and hits(up, "connections_per_address") == 0
    for c in held:
        c.close()


def test_a_trusted_proxy_is_many_clients(bench, foreign):
    up = bench.up({"remote": [remote(bench.engine())], "limits": {"connections_per_address": 2}, "trusted_proxies": ["10.9.0.2/32"]})
    held = [from_address(up, "10.9.0.2") for _ in range(12)]
    assert all(served(c) for c in held) and hits(up, "connections_per_address") == 0
    others = [from_address(up, "10.9.0.1") for _ in range(2)]
    assert all(served(o) for o in others)
    with from_address(up, "10.9.0.1") as c:
        assert c.reply("GET").status == 429
    for c in (*held, *others):
        c.close()


# ---- connections in all ----


def test_a_fresh_connection_is_not_shed(bench):
    """Its request may be under way: only who has spoken and idles, or stays silent for long, makes room."""
    up = up_with(bench, bench.engine(), {"connections": 8}, lanes="1")

    def within_a_second():
        """True when it was quick enough for all of them to be fresh."""
        shed = up.metric("inferd_connections_shed_total")
        idle = up.open()
        assert served(idle)
        watch = Stopwatch()
        fresh = [up.open() for _ in range(7)]
        until(lambda: up.admin("/status")["connections"] == 8, "the cap is reached")
        with up.open() as c, up.open() as d:
            c.send(b"GET /health HTTP/1.1\r\n")
            quick = bool(select.select([d.socket], [], [], 1)[0]) and watch.seconds() < 1
            if quick:
                assert idle.end() == "fin"  # went for the first
                assert d.reply("GET").status == 503  # nobody else may go
                c.send(b"Host: localhost\r\n\r\n")
                assert c.reply("GET").status == 200
                assert all(served(f) for f in fresh)
                assert up.metric("inferd_connections_shed_total") == shed + 1
        for f in (idle, *fresh):
            f.close()
        until(lambda: up.admin("/status")["connections"] == 0, "all are gone")
        return quick

    until(within_a_second, "a second is enough for nine connections")


def test_another_lanes_idle_connection_makes_room(bench):
    up = up_with(bench, bench.engine(lambda c: c.wait_gone(20)), {"connections": 8}, lanes="2")
    held = []
    for i in range(8):  # they alternate between the lanes: one lane works, the other idles
        c = up.open()
        c.request(*(("GET", "/health") if i % 2 else ("POST", "/v1/chat/completions", b'{"model":"tiny"}')))
        if i % 2:
            assert c.reply("GET").status == 200
        held.append(c)
        until(lambda n=i + 1: up.admin("/status")["connections"] == n, "it is taken")
    for i in range(4):  # one by one: while one makes room, another lane sees less than there are
        c = up.open()
        c.request("POST", "/v1/chat/completions", b'{"model":"tiny"}')
        held.append(c)
        until(lambda n=i + 1: up.metric("inferd_connections_shed_total") == n, "an idle one made room")
        until(lambda n=i + 5: up.metric("inferd_requests_in_flight") == n, "it is under way")
    assert hits(up, "connections") == 0
    with up.open() as c:
        assert c.reply("GET").status == 503
    for c in held:
        c.close()


def test_who_is_refused_does_not_take_all(bench):
    """At the cap sixteen in each lane are told so at a time; the next ones wait unaccepted."""
    up = up_with(bench, bench.engine(lambda c: c.wait_gone(20)), {"connections": 4})
    held = [up.open_chat() for _ in range(4)]
    until(lambda: up.metric("inferd_requests_in_flight") == 4, "the cap is reached")
    silent = [up.open() for _ in range(100)]
    until(lambda: up.metric("inferd_accept_pauses_total") >= 1, "accepting pauses")
    until(lambda: up.admin("/status")["connections"] <= 4 + 2 * 16, "no more than are told")
    for c in (*held, *silent):
        c.close()
    until(lambda: up.admin("/status")["connections"] == 0, "all are gone")
    watch = Stopwatch()
    assert up.get("/health").status == 200 and watch.seconds() < 1 * SLOW  # telling all of them would take twice as long


# ---- descriptors ----


def test_no_descriptors(bench):
    """None is left: accepting pauses without a spin, who is there is served, and who waited is once some are back."""
    up = up_with(bench, bench.engine(), {"connections_per_address": 100000})
    pid = up.gateway_pid()
    with up.open() as kept:
        kept.send(b"GET /health HTTP/1.1\r\n")  # at work: who idles is closed to make room
        pauses = up.metric("inferd_accept_pauses_total")
        limit_descriptors(pid, len(os.listdir(f"/proc/{pid}/fd")) - 1)
        waiting = [up.open() for _ in range(50)]
        for c in waiting:
            c.request("GET", "/health")
        kept.send(b"Host: localhost\r\n\r\n")
        assert kept.reply("GET").status == 200
        cpu = cpu_seconds(pid)
        time.sleep(1.0)
        assert cpu_seconds(pid) - cpu < 0.2 * SLOW, "a spin"
        limit_descriptors(pid, 10000)
        watch = Stopwatch()
        assert all(c.reply("GET").status == 200 for c in waiting) and watch.seconds() < 2 * SLOW
        assert 1 <= up.metric("inferd_accept_pauses_total") - pauses <= 4  # one a listener, not one a try
        for c in waiting:
            c.close()


def test_admin_connections(bench):
    """32 at once, so that they do not take the descriptors of others; who idles makes room."""
    up = up_with(bench, bench.engine(), {})
    held = []
    for _ in range(32):
        c = raw.Connection(up.control)
        c.send(b"GET /")  # at work: none may be shed
        held.append(c)
    with raw.Connection(up.control) as c:
        reply = c.reply("GET")
        assert reply.status == 503 and reply.error()["code"] == "overloaded" and reply["connection"] == "close", reply
    held[0].send(b"metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
    told = held[0].reply("GET").body.decode()
    assert "\ninferd_admin_refused_total 1\n" in told
    assert "\ninferd_admin_connections 32\n" in told or "\ninferd_admin_connections 33\n" in told  # one lingers
    assert up.admin("/status")["connections"] == 0  # for which the idle one goes
    assert held[0].end() == "fin"
    for c in held:
        c.close()


# ---- clients that do not read ----


def test_unsent_bytes(bench):
    """All that waits for clients that do not read has a bound: who adds to it then is cut, nobody else is."""
    flood = bench.mock("flood", models=("flood",), args=["--tokens-per-second", "0", "--repeat", "100000"])
    up = bench.up({"remote": [remote(flood, "flood", ("flood",)), remote(bench.engine())], "limits": {"unsent_bytes": 100000}})
    readers = [up.open_chat("flood", receive_buffer=4096) for _ in range(30)]
    seen = []

    def settled():
        """Those that are left wait for their readers: nobody adds any more, and nobody is cut."""
        cut = hits(up, "unsent_bytes")
        agree = 0 < cut == 30 - flood.health()["active"] == 30 - up.metric("inferd_requests_in_flight")
        seen.append(cut if agree else None)
        return len(seen) > 20 and seen[-1] and set(seen[-20:]) == {cut}

    until(settled, "some are cut, and their engine's work with them", every=0.05)
    left = up.metric("inferd_requests_in_flight")
    assert left >= 1
    assert up.chat(stream=True).status == 200  # who reads is not concerned
    until(lambda: up.metric("inferd_requests_in_flight") == left, "and its request is over")
    for c in readers:
        c.close()
    until(lambda: up.metric("inferd_requests_in_flight") == 0, "all are gone")
    with up.open_chat("flood") as c:
        assert c.head().status == 200


# ---- overload ----


def test_the_place_in_the_queue_is_told(bench):
    """With a pace known: who is refused learns its place and when that place is served."""
    goes_on = threading.Event()
    goes_on.set()

    def script(c):
        time.sleep(0.1)
        goes_on.wait(20 * SLOW)
        fake.answer_chat(c)

    engine = bench.engine(script)
    up = bench.up({"remote": [remote(engine, slots=1)], "limits": {"queue_length": 9}})
    watch = Stopwatch()
    for c in [up.open_chat(stream=False) for _ in range(6)]:  # five of them wait for their turn, which makes the pace
        with c:
            assert c.reply().status == 200
    goes_on.clear()
    held = [up.open_chat(stream=False) for _ in range(20)]  # one is under way then, and nine wait
    until(lambda: hits(up, "queue_length") == 10, "the others are refused")
    seconds_at_most = 1 + 10 * watch.seconds() / 5  # had they waited all the time
    goes_on.set()
    told = []
    for c in held:
        with c:
            reply = c.reply()
            assert reply.status in (200, 503), reply
            if reply.status == 503:
                told.append((int(reply["x-inferd-queue-position"]), int(reply["retry-after"])))
            else:
                assert reply["x-inferd-queue-position"] is None
    assert len(told) == 10
    assert all(place == 10 and 1 <= seconds <= seconds_at_most for place, seconds in told), told


# ---- the log ----


def test_refused_heads_do_not_fill_the_log(bench):
    """20 lines a second and lane; the next one says how many were not told."""
    up = up_with(bench, bench.engine(), {})
    for _ in range(300):
        with up.open() as c:
            c.send(b"NONSENSE\r\n\r\n")
            c.reply("GET")

    def all_counted():
        """A reply may be read before its line is written, or counted as none."""
        untold = up.metric("inferd_log_suppressed_total")
        return untold > 0 and len(up.log(msg="request", fault="bad_request")) == 300 - untold

    until(all_counted, "some are not told, all others are")

    def accounted_for():
        """Each lane tells what it had not told: the second connection goes to the one that has not got the first."""
        with up.open() as c, up.open() as d:
            for x in (c, d):
                x.send(b"NONSENSE\r\n\r\n")
                x.reply("GET")
        told = sum(x.get("suppressed", 0) for x in up.log(msg="request"))
        return told == up.metric("inferd_log_suppressed_total")

    until(accounted_for, "each is accounted for", every=0.1)  # twenty a second are all told
    assert up.get("/nowhere").status == 404
    up.wait_log(msg="request", path="/nowhere")  # a head that was understood always has its line
