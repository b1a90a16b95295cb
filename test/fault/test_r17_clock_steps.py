# SPDX-License-Identifier: Apache-2.0
"""R17: the clock steps, by an hour, by ten years, every 100 ms; and a machine that has been up for
another time than its clocks say. No deadline is early or late, no engine falls, no stream breaks.

The wall clock is turned under the whole process tree, engines included, by a preloaded library
(harness/clock.c); that it was really another one is read from the log. What that cannot move are waits of the
kernel's that end at a time of day; that there are none is asserted. Clocks since boot are moved by a
time namespace."""

import os
import random
import re
import subprocess
import threading
import time

import pytest

from harness import faults, raw
from harness.clock import Clock
from harness.gateway import Gateway
from harness.load import Load, Streams, percentile, tally
from harness.tree import alive
from harness.wait import until

HOUR, TEN_YEARS, BOOT = 3600, 315_576_000, 100_000
SHIFTS = [HOUR, 0, -HOUR, 0, TEN_YEARS, -TEN_YEARS, 0]
STEP_S = 0.1
CLOCK_MONOTONIC = 1
# A loop reads its clock once a turn, so a deadline may be early by as long as a turn is interrupted.
TURN_MS = 250
# Milliseconds. What they bound is waited out again and again while the clock steps.
LIMITS = {"first_byte_ms": 2500, "idle_ms": 2500, "queue_ms": 900, "head_ms": 500, "keepalive_ms": 800, "stall_ms": 2000}
GRACE_MS, DELAY_MS, READY_MS = 500, 600, 700  # of units


class Shifted(Gateway):
    """In a time namespace whose clocks since boot are BOOT seconds ahead."""

    def wrap(self, command):
        return ["unshare", "-T", "--boottime", str(BOOT), "--monotonic", str(BOOT), *command]


def start(bench, kind=Gateway, env=None, repeat=6):
    units = [faults.mock_engine("one", live_interval_ms=100), faults.mock_engine("two", live_interval_ms=100, at="${SOCKET}"),
             faults.mock_engine("talker", ["talk"], ["--tokens-per-second", "20", "--repeat", repeat], live_interval_ms=100),
             faults.mock_engine("narrow", ["narrow"], ["--tokens-per-second", "5", "--repeat", "1000"], slots=1,
                                live_interval_ms=100)]
    bad = {m: bench.mock(m, models=(m, f"{m}-good"), args=["--tokens-per-second", "0", "--fault", f"{m}={fault}"])
           for m, fault in (("hang", "hang"), ("stall", "stall:3"))}
    remotes = [faults.remote(m, mock.url, (m, f"{m}-good")) for m, mock in bad.items()]
    gateway = bench.register(kind.__new__(kind), bench.new_folder("up"), faults.config(units, remotes, **LIMITS),
                             env={**faults.SANDBOXED, **(env or {})})
    for unit in units:
        gateway.wait_unit(unit["name"], "ready")
    return gateway


def clocks_waited_on(pid):
    """The clock of each timer that the process has as a descriptor."""
    found = []
    for fd in os.listdir(f"/proc/{pid}/fdinfo"):
        try:
            with open(f"/proc/{pid}/fdinfo/{fd}", encoding="utf-8") as f:
                found += [int(c) for c in re.findall(r"^clockid: (\d+)$", f.read(), re.M)]
        except FileNotFoundError:
            pass  # a connection that has gone meanwhile
    return found


class Timers:
    """Waits deadlines out, each kind in a thread of its own, and keeps how long they took: no less than
    the limit if none is early, for the time counts from before the gateway could arm it."""

    def __init__(self, gateway):
        self.gateway, self.over, self.found, self.problems = gateway, threading.Event(), [], []
        kinds = {"first_byte_ms": self.first_byte, "idle_ms": self.idle, "queue_ms": self.queue, "head_ms": self.head,
                 "keepalive_ms": self.keepalive}
        self.holder = gateway.open_chat("narrow", seconds=2000)  # takes the only slot
        until(lambda: gateway.metrics().get('inferd_engine_in_flight{engine="narrow"}') == 1, "the slot is taken")
        self.threads = [threading.Thread(target=self._loop, args=k, daemon=True) for k in kinds.items()]
        for thread in self.threads:
            thread.start()

    def _loop(self, limit, fn):
        try:
            while not self.over.is_set():
                began = time.monotonic()
                fn()
                self.found.append((limit, (time.monotonic() - began) * 1000 - LIMITS[limit]))
                # an engine that breaks each reply is no engine: it has to do well in between
                for model in {"first_byte_ms": ["hang-good"], "idle_ms": ["stall-good"]}.get(limit, []):
                    assert self.gateway.chat(model).status == 200
        except Exception as e:  # stop() raises it
            self.problems.append(e)

    def first_byte(self):
        reply = self.gateway.chat("hang")
        assert reply.status == 504 and reply.error()["code"] == "upstream_timeout", reply

    def idle(self):
        reply = self.gateway.chat("stall", stream=True)
        assert not reply.whole and "upstream_timeout" in reply.events()[-1], reply

    def queue(self):
        reply = self.gateway.chat("narrow")
        assert reply.status == 503 and reply.error()["code"] == "overloaded", reply

    def head(self):
        with self.gateway.open() as c:
            c.send(b"GET /health HTTP/1.1\r\nHost: ")
            assert c.reply().status == 408

    def keepalive(self):
        with self.gateway.open() as c:
            c.request("GET", "/health")
            assert c.reply("GET").status == 200
            assert c.end() == "fin"

    def stop(self):
        """Milliseconds over the limit, of each."""
        self.over.set()
        for thread in self.threads:
            thread.join()
        self.holder.close()
        if self.problems:
            raise self.problems[0]
        early = [(limit, over) for limit, over in self.found if over < -TURN_MS]
        assert not early, f"too early by ms: {early}"
        return [over for _, over in self.found]


def run(gateway, streams, turns, rate=100):
    """turns() moves the clock about. What was asked meanwhile: (outcomes, streams, ms over each limit)."""
    pids = {u["name"]: u["pid"] for u in gateway.admin("/units")["units"]}
    talk = Streams(gateway.address, streams, "talk", limit=300)
    until(lambda: talk.talking() == streams, f"{streams} streams talk", 10)
    timers = Timers(gateway)
    with Load(gateway.address, rate=rate) as load:
        turns()
    over = timers.stop()
    assert set(clocks_waited_on(gateway.gateway_pid()) + clocks_waited_on(gateway.pid)) <= {CLOCK_MONOTONIC}
    failed = [o for o in load.outcomes if not o.good]
    assert not failed, f"{tally(load.outcomes)}: {failed[:3]}"
    ends = [o.stream_end() for o in talk.join()]
    assert ends == ["done"] * streams, "streams go on"
    units = gateway.admin("/units")["units"]
    assert {u["name"]: u["pid"] for u in units} == pids and {u["state"] for u in units} == {"ready"}
    fallen = [r for r in gateway.log(msg="unit changed") if r["state"] not in ("starting", "loading", "ready")]
    assert not fallen, f"an engine fell: {fallen}"
    return load.outcomes, ends, over


def step(clock, n, seed=17):
    """n random steps."""
    rng = random.Random(seed)
    for _ in range(n):
        clock.turn(rng.choice((0, rng.randrange(-HOUR, HOUR), rng.choice((-1, 1)) * rng.randrange(TEN_YEARS))))
        time.sleep(STEP_S)
    clock.turn(0)


def years(gateway, target):
    """Which years the log's lines of that target were written in."""
    return {int(r["ts"][:4]) for r in gateway.log(target=target)}


def assert_it_was_turned(gateway):
    """In the master, which starts and stops, and in the gateway's threads."""
    now = time.gmtime().tm_year
    assert max(years(gateway, "gate")) >= now + 5, "the gateway saw another clock"
    gateway.signal(15)
    gateway.wait_exit()
    assert max(years(gateway, "gate")) >= now + 5


@pytest.mark.fault
def test_the_clock_steps(bench):
    clock = Clock(bench.folder)
    gateway = start(bench, env=clock.env())

    def turns():
        for shift in SHIFTS:
            clock.turn(shift)
            time.sleep(0.5)
        step(clock, 30)

    outcomes, _, over = run(gateway, 20, turns)
    assert len(over) >= 15 and max(over) < 1000 * faults.SLACK
    assert len(outcomes) >= 500
    assert_it_was_turned(gateway)


@pytest.mark.fault
def test_units_keep_their_time(bench):
    """Between SIGTERM and SIGKILL, before a restart, until it should be ready: none shorter, none for ever."""
    clock = Clock(bench.folder)
    stubborn = faults.mock_engine("stubborn", args=["--ignore-sigterm"], restart_delay_ms=DELAY_MS, restart_max_ms=DELAY_MS)
    never = faults.mock_engine("never", ("never",), ["--ready-after-ms", "600000"], ready_timeout_ms=READY_MS, restart="never")
    gateway = bench.up(faults.config([{**stubborn, "stop_grace_ms": GRACE_MS}, never]), env={**faults.SANDBOXED, **clock.env()})
    turner = threading.Thread(target=step, args=(clock, 60), daemon=True)
    turner.start()
    pid = gateway.wait_unit("stubborn", "ready")["pid"]
    began = time.monotonic()
    os.kill(pid, 9)
    again = until(lambda: (p := gateway.unit("stubborn")["pid"]) not in (None, pid) and p, "it is back")
    assert DELAY_MS / 1000 <= time.monotonic() - began < DELAY_MS / 1000 + faults.SLACK
    gateway.wait_unit("stubborn", "ready")
    began = time.monotonic()
    gateway.ctl("stop", "stubborn")
    until(lambda: not alive(again), "it is gone", 10)
    assert GRACE_MS / 1000 <= time.monotonic() - began < GRACE_MS / 1000 + faults.SLACK
    until(lambda: gateway.unit("never")["state"] not in ("starting", "loading", "stopping"), "it was given up", 10)
    turner.join()


def may_move_boot():
    return subprocess.run(["unshare", "-T", "--boottime", str(BOOT), "true"], check=False, capture_output=True).returncode == 0


@pytest.mark.fault
def test_another_time_since_boot(bench):
    if not may_move_boot():
        pytest.skip("time namespaces are not allowed here")
    gateway = start(bench, kind=Shifted)
    with open(f"/proc/{gateway.gateway_pid()}/timens_offsets", encoding="utf-8") as f:
        assert str(BOOT) in f.read(), "its clocks are others"
    _, _, over = run(gateway, 10, lambda: time.sleep(2), rate=50)
    assert max(over) < 1000 * faults.SLACK


@pytest.mark.fault
@pytest.mark.full
def test_1000_random_steps(bench):
    clock = Clock(bench.folder)
    gateway = start(bench, env=clock.env(), repeat=85)  # 28 characters, 20 a second: two minutes
    began = time.monotonic()

    def turns():
        for shift in SHIFTS:
            clock.turn(shift)
            time.sleep(0.5)
        step(clock, 1000)

    outcomes, ends, over = run(gateway, 50, turns, rate=200)
    seconds = time.monotonic() - began
    assert_it_was_turned(gateway)
    boot = run(start(bench, kind=Shifted), 20, lambda: time.sleep(5)) if may_move_boot() else None
    faults.record(
        17, f"the wall clock of master, gateway and engines stepped by +1 h, -1 h, +10 years, -10 years, then 1,000 times at "
        f"random, every 100 ms, under 200 requests a second and 50 streams ({seconds:.0f} s); then a time namespace whose "
        "clocks since boot are 10^5 s ahead", "0 engines expired, 0 timers early", "the same under 1,000 random steps",
        f"0 failed of {len(outcomes):,}, {ends.count('done')} of {len(ends)} streams whole, 0 engines fell; 0 of {len(over)} "
        f"waited-out deadlines early (first byte, silence, queue, head, keep-alive), between {min(over):+.1f} and "
        f"{max(over):+.1f} ms from the limit, {percentile(over, 50):+.1f} in the median; time namespace: "
        + (f"0 failed of {len(boot[0]):,}, 0 of {len(boot[2])} early" if boot else "not allowed here"),
        "moonshot" if boot else "minimum", "" if boot else "no time namespaces on this machine")
