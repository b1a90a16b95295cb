# SPDX-License-Identifier: Apache-2.0
"""R23: SIGTERM under load. /ready says no while clients are still served, then nothing new is
accepted, what is under way finishes, and what has not at the deadline is cut with an error event.

With the listening socket handed to a successor (socket activation) nobody is refused either."""

import signal
import socket
import threading
import time

import pytest

from harness import faults, raw
from harness.gateway import Gateway
from harness.load import Load, Streams, percentile, tally
from harness.wait import SLOW, until

STOP_MS = 300  # the engines' grace
SERVED = 0.5  # the share of drain_delay_ms in which whoever asks is served: what is sent late in it may arrive after it


def remotes(bench, latency_ms):
    """Two engines that outlive the gateway, so that it can be asked afterwards what reached them."""
    mocks = [bench.mock(n, args=["--latency-ms", latency_ms]) for n in ("one", "two")]
    return mocks, [faults.remote(m.name, m.url) for m in mocks]


def reached(mocks):
    return sum(m.health()["requests"] for m in mocks)


def talker():
    return faults.mock_engine("slow", models=("slow",), args=["--tokens-per-second", "20", "--repeat", "1000"],
                              stop_grace_ms=STOP_MS)


def watch_ready(gateway, over, found):
    """Asks /ready again and again; notes (when, status, code)."""
    while not over.is_set():
        at = time.monotonic()
        try:
            reply = raw.get(gateway.address, "/ready")
        except (OSError, AssertionError):
            found.append((at, None, None))
            return
        code = None if reply.status == 200 else reply.json()["error"]["code"]
        found.append((at, reply.status, code))
        time.sleep(0.01)


def run(bench, rate, streams, delay_ms, drain_ms):
    mocks, rows = remotes(bench, 50)
    gateway = bench.up(faults.config([talker()], rows, drain_delay_ms=delay_ms, drain_ms=drain_ms), env=faults.SANDBOXED)
    gateway.wait_unit("slow", "ready")
    talk = Streams(gateway.address, streams, "slow")
    until(lambda: talk.talking() == streams, "the streams talk")
    over, ready = threading.Event(), []
    watcher = threading.Thread(target=watch_ready, args=(gateway, over, ready), daemon=True)
    with Load(gateway.address, rate, limit=10) as load:
        watcher.start()
        until(lambda: len(load.outcomes) > rate / 2, "the load runs")
        asked = time.monotonic()
        gateway.signal(signal.SIGTERM)
        status = gateway.wait_exit((delay_ms + drain_ms) / 1000 + 10)
        ended = time.monotonic() - asked
    over.set()
    watcher.join()
    assert status == 0
    judge_ready(ready, asked, delay_ms / 1000)
    ends = tally_ends(talk.join())
    assert ends == {"told": streams}, f"every stream outlives the deadline and is told: {ends}"
    refused = judge_load(load.outcomes, asked, delay_ms / 1000)
    answered = sum(o.good for o in load.outcomes)
    assert reached(mocks) == answered, "what reached an engine was answered, also on kept connections that closed just then"
    return ended, refused, load.outcomes, asked


def tally_ends(outcomes):
    found = {}
    for o in outcomes:
        found[o.stream_end()] = found.get(o.stream_end(), 0) + 1
    return found


def judge_ready(ready, asked, delay):
    """Yes until the signal, no as soon as that has arrived, and an answer for as long as clients are served."""
    said = [(s, c) for _, s, c in ready if s is not None]
    yes = said.count((200, None))
    assert yes > 0 and said[:yes] == [(200, None)] * yes and set(said[yes:]) == {(503, "draining")}, ready
    assert all(s is not None for at, s, _ in ready if at < asked + delay * SERVED), ready


def judge_load(outcomes, asked, delay):
    """Nobody who was under way is lost; who came after the end of accepting may be refused, cleanly."""
    early = [o for o in outcomes if o.began is not None and o.began < asked + delay * SERVED and not o.good]
    assert not early, f"{len(early)} sent while clients were still served failed: {tally(early)} {early[:3]}"
    partial = [o for o in outcomes if o.status is not None and not o.good]
    assert not partial, f"{len(partial)} of those under way were lost: {tally(partial)} {partial[:3]}"
    return sum(not o.good for o in outcomes)


@pytest.mark.fault
def test_drain_under_load(bench):
    ended, _, _, _ = run(bench, rate=100, streams=10, delay_ms=3000, drain_ms=1000)
    assert 4 <= ended < 4 + faults.SLACK * SLOW


@pytest.mark.fault
def test_drain_ends_early_when_nothing_is_under_way(bench):
    gateway = bench.up(faults.config([talker()], drain_delay_ms=0, drain_ms=20000), env=faults.SANDBOXED)
    gateway.wait_unit("slow", "ready")
    began = time.monotonic()
    gateway.signal(signal.SIGTERM)
    assert gateway.wait_exit() == 0 and time.monotonic() - began < 10


@pytest.mark.fault
def test_a_long_request_finishes_within_the_drain(bench):
    engine = faults.mock_engine("one", args=["--latency-ms", "3000"])
    gateway = bench.up(faults.config([engine], drain_delay_ms=0, drain_ms=20000), env=faults.SANDBOXED)
    gateway.wait_unit("one", "ready")
    c = gateway.open_chat(stream=False)
    until(lambda: gateway.metric("inferd_engine_in_flight") == 1, "it is under way")
    gateway.signal(signal.SIGTERM)
    reply = c.reply()
    assert reply.status == 200 and reply.whole and reply["connection"] == "close", reply
    assert c.end() == "fin"
    assert gateway.wait_exit() == 0


# ---- a successor on the same socket ----


class Activated(Gateway):
    """`inferd up` that finds its listening socket in LISTEN_FDS, as systemd would hand it."""

    def __init__(self, folder, listener, config):
        self.listener = listener
        super().__init__(folder, config, env=faults.SANDBOXED, pass_fds=(listener.fileno(),), listen=False)

    def wrap(self, command):
        words = f'exec 3<&{self.listener.fileno()}; LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"'
        return ["/bin/bash", "-c", words, "bash", *command]


def listening_socket():
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind(("127.0.0.1", 0))
    s.listen(4096)
    return s


def hand_over(bench, rate, generations, delay_ms=300):
    """One generation after the other on one socket, the next started when the last one drains."""
    listener = listening_socket()
    address = f"127.0.0.1:{listener.getsockname()[1]}"
    mocks, rows = remotes(bench, 5)
    made = faults.config(remotes=rows, drain_delay_ms=delay_ms, drain_ms=1000)
    made["listen"] = [{"address": address}]

    def start():
        return bench.register(Activated.__new__(Activated), bench.new_folder("up"), listener, made)

    gateway = start()
    with Load(address, rate, limit=20) as load:
        for _ in range(generations):
            until(lambda n=len(load.outcomes): len(load.outcomes) > n + rate / 4, "the load runs")
            following = start()
            gateway.signal(signal.SIGTERM)
            assert gateway.wait_exit() == 0
            gateway = following
        until(lambda n=len(load.outcomes): len(load.outcomes) > n + rate / 4, "the last one serves")
    counts = tally(load.outcomes)
    assert set(counts) == {"200"}, counts
    assert reached(mocks) == len(load.outcomes), "and nothing was asked of an engine twice"
    listener.close()
    return len(load.outcomes)


@pytest.mark.fault
def test_a_successor_on_the_same_socket_refuses_nobody(bench):
    hand_over(bench, rate=100, generations=1)


@pytest.mark.fault
@pytest.mark.full
def test_drain_of_200_a_second_and_50_streams(bench):
    delay_ms, drain_ms = 1000, 3000
    overs, under_way, turned_away = [], 0, 0
    for _ in range(5):
        ended, refused, outcomes, asked = run(bench, 200, 50, delay_ms, drain_ms)
        overs.append(ended - (delay_ms + drain_ms) / 1000)
        turned_away += refused
        under_way += sum(o.good and o.due + o.seconds > asked for o in outcomes)
    assert max(overs) <= 1, overs
    handed = hand_over(bench, 200, 10)
    faults.record(
        23, "5 SIGTERMs under 200 requests a second and 50 streams (1 s of /ready saying no, 3 s of drain); then 10 "
        "successors on one inherited socket, each started before the last one's SIGTERM",
        "0 lost of what is no stream and under way; exit within the deadline + 1 s", "0 refused too, the socket handed on",
        f"0 lost of {under_way:,} answered after the signal, 250 of 250 streams ended with an error event at the deadline, "
        f"exit 0 {faults.ms(percentile(overs, 50))} (max {faults.ms(max(overs))}) after it; {turned_away:,} refused once "
        f"accepting had ended; with a successor 0 refused and 0 failed of {handed:,}", "moonshot")
