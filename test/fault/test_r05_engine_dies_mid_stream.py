# SPDX-License-Identifier: Apache-2.0
"""R5: an engine dies in the middle of a stream. Every cut stream ends with an error event, without
[DONE] and without the last chunk; the slot is free within a second; nothing leaks.

Engines die by SIGKILL with all their streams open, and one stream at a time by RST, by FIN and by
silence."""

import os
import signal
import time

import pytest

from harness import faults, net
from harness.load import Streams, chat_body, percentile, rush
from harness.wait import until

FAULTS = {"reset": "abort:5", "fin": "truncate:5", "silence": "stall:5"}
SLOTS = 64


def start(bench):
    """One mock that will be killed and started again on its port, one that cuts by itself."""
    talker = Talker(bench)
    cutter = bench.mock("cutter", models=tuple(FAULTS), args=["--tokens-per-second", "0"] +
                        [a for model, fault in FAULTS.items() for a in ("--fault", f"{model}={fault}")])
    remotes = [faults.remote("talker", f"http://127.0.0.1:{talker.port}", slots=SLOTS),
               faults.remote("cutter", cutter.url, models=tuple(FAULTS), slots=SLOTS)]
    gateway = bench.up(faults.config(remotes=remotes, idle_ms=300), env=faults.SANDBOXED)
    return gateway, talker


class Talker:
    def __init__(self, bench):
        self.bench, self.port = bench, net.free_port()
        self.start()

    def start(self):
        self.mock = self.bench.mock("talker", port=self.port, args=["--tokens-per-second", "50", "--repeat", "1000"])

    def kill(self):
        self.mock.kill()


def kill_round(gateway, talker, n):
    """Returns how each of n streams ended, and how long after the kill."""
    streams = Streams(gateway.address, n)
    until(lambda: streams.talking() == n, f"{n} streams talk", 10)
    killed = time.monotonic()
    talker.kill()
    outcomes = streams.join()
    freed = faults.wait_idle(gateway)
    talker.start()
    return outcomes, [o.due + o.seconds - killed for o in outcomes], freed


def cut_rounds(gateway, n):
    bodies = [chat_body(list(FAULTS)[i % len(FAULTS)], stream=True) for i in range(n)]
    return rush(gateway.address, bodies, at_once=SLOTS // 2)


def judge(outcomes):
    """100 % told, and told why."""
    wrong = [o for o in outcomes if o.stream_end() != "told"]
    assert not wrong, f"{len(wrong)} of {len(outcomes)} cut streams were not told so: {wrong[:3]}"
    for o in outcomes:
        assert b"upstream_" in o.events()[-1], o
    return len(outcomes)


def run(bench, kills, streams, cuts):
    gateway, talker = start(bench)
    pid = gateway.gateway_pid()
    judge(kill_round(gateway, talker, streams)[0])  # pools, arenas and pages as they will be
    judge(cut_rounds(gateway, max(cuts // 10, 10)))
    faults.wait_idle(gateway)
    # Control keeps up to two connections to each engine for its tests; a kill takes the talker's away.
    descriptors, rss = faults.descriptors(pid) + 2 * 2, faults.rss_kb(pid)
    total, seconds, freed = 0, [], []
    for _ in range(kills):
        outcomes, times, free = kill_round(gateway, talker, streams)
        total += judge(outcomes)
        seconds += times
        freed.append(free)
    total += judge(cut_rounds(gateway, cuts))
    freed.append(faults.wait_idle(gateway))
    left = max(0, faults.wait_descriptors(pid, descriptors) - descriptors)
    assert gateway.gateway_pid() == pid, "the gateway itself went through all of it"
    assert gateway.metric("inferd_cut_streams_total") >= total
    return total, seconds, freed, left, faults.rss_kb(pid) - rss


@pytest.mark.fault
def test_engine_dies_mid_stream(bench):
    total, seconds, _, _, _ = run(bench, kills=2, streams=20, cuts=60)
    assert total == 100 and max(seconds) < faults.SLACK


@pytest.mark.fault
def test_a_supervised_engine_dies_mid_stream_and_comes_back(bench):
    engine = faults.mock_engine("one", args=["--tokens-per-second", "50", "--repeat", "1000"], restart_delay_ms=50)
    gateway = bench.up(faults.config([engine]), env=faults.SANDBOXED)
    first = gateway.wait_unit("one", "ready")
    streams = Streams(gateway.address, 20)
    until(lambda: streams.talking() == 20, "20 streams talk", 10)
    os.kill(first["pid"], signal.SIGKILL)
    judge(streams.join())
    faults.wait_idle(gateway)
    again = until(lambda: (u := gateway.unit("one"))["state"] == "ready" and u["pid"] != first["pid"] and u, "it is back")
    assert again["restarts"] == 1
    c = gateway.open_chat()
    assert c.head().status == 200
    until(lambda: b"data:" in c.waiting or c.more() and b"data:" in c.waiting, "it talks again")
    c.close()


@pytest.mark.fault
@pytest.mark.full
def test_10000_cut_streams(bench):
    total, seconds, freed, left, grown = run(bench, kills=100, streams=50, cuts=5000)
    assert total == 10000 and left <= 0
    faults.record(
        5, "10,000 streams cut: 100 SIGKILLs of an engine with 50 open streams each, and 5,000 one by one, by RST, by "
        "FIN, by 300 ms of silence", "every cut stream ends with an error event, no `[DONE]`; 0 leaks; slot free in 1 s",
        "the same; p99 of RST to event 50 ms; the event says where to resume",
        f"{total:,} of {total:,} told so, 0 descriptors left over, resident memory {grown:+,} kB; SIGKILL to the client's "
        f"end: median {faults.ms(percentile(seconds, 50))}, p99 {faults.ms(percentile(seconds, 99))}, max "
        f"{faults.ms(max(seconds))}; all slots free {faults.ms(max(freed))} later at most", "minimum",
        "the error event carries no position to resume from: no dialect has a way to resume a completion")
