# SPDX-License-Identifier: Apache-2.0
"""R26: engines that do not go when they are told to, that leave others behind, that write without end,
that never become ready. Each is ended within its time and nothing of it is left; nobody else notices.

Each kind is a few words of shell in front of the mock: what it starts there holds the pipes, sits in
another session, ignores what it is sent, or is never reaped. The test has a network of its own, so
what is left over is what still lives in it."""

import os
import re
import time
from datetime import datetime

import pytest

from harness import faults, net, raw
from harness.load import Load, percentile, tally
from harness.tree import PROGRAM, children, describe, state_of
from harness.wait import until

GRACE_MS = 100
LIMIT = GRACE_MS / 1000 + 1  # seconds that a stop may take
# What stands before `exec inferd mock`, and after it. A forgotten sleep ends by itself.
KINDS = {
    "stubborn": ("trap '' TERM", "--ignore-sigterm"),
    "holder": ("sleep 900 & sleep 900 &", ""),  # in its group, with its pipes
    "stray": ("setsid sleep 900 & setsid sh -c 'sleep 900 & exec sleep 900' &", ""),  # twice forked, in other sessions
    "undying": ("""setsid sh -c 'trap "" TERM HUP INT; while :; do sleep 900; done' &""", "--ignore-sigterm"),
    "zombies": ("for i in 1 2 3 4 5 6 7 8; do true & done", ""),  # the mock reaps nobody
    "deep": ("(((sleep 900 & exec sleep 900) & exec sleep 900) & exec sleep 900) &", ""),
    "group": ("", "--fork-helper --fork-stray --ignore-sigterm"),
}
NEVER = {  # those that never answer; `exec` so that the shell itself is what is to be ended
    "mute": "exec sleep 900",
    "deaf": "trap '' TERM HUP INT; while :; do sleep 900; done",
    "shut": "exec >&- 2>&-; sleep 900 & exec sleep 900",  # closed its ends of the pipes
}


def unit(kind, i=0, **keys):
    name = f"{kind}-{i}"
    if kind in NEVER:
        script = f": ${{PORT}}; {NEVER[kind]}"
    else:
        before, flags = KINDS[kind]
        before = before if before.endswith("&") or not before else before + ";"
        script = f"{before} exec {PROGRAM} mock --name {name} --models {name} --port ${{PORT}} {flags}"
    return {"name": name, "command": ["/bin/sh", "-c", script], "models": [name], "stop_grace_ms": GRACE_MS,
            "restart": "never", **keys}


class Rig:
    def __init__(self, bench, units):
        assert bench.private, "what is left over is known by its network: this needs one of its own"
        self.names = [u["name"] for u in units]
        self.gateway = bench.up(faults.config(units), env=faults.SANDBOXED)
        self.core = {self.gateway.pid, self.gateway.gateway_pid()}

    def states(self):
        return {u["name"]: u["state"] for u in self.gateway.admin("/units")["units"] if u["name"] in self.names}

    def order(self, word):
        for name in self.names:
            reply = raw.post(self.gateway.control, f"/units/{name}/{word}")
            assert reply.status in (200, 202), reply

    def wait_up(self):
        """All that can be ready are."""
        ready = {n for n in self.names if n.rpartition("-")[0] not in NEVER}
        until(lambda: all(s == ("ready" if n in ready else "loading") for n, s in self.states().items()), "they run", 20)

    def wait_stopped(self):
        """Seconds from now until each of them had stopped."""
        began, took = time.monotonic(), {}

        def stopped():
            for name, state in self.states().items():
                if state == "stopped":
                    took.setdefault(name, time.monotonic() - began)
            return len(took) == len(self.names)

        until(stopped, "all have stopped", 20, every=0.002)
        return took

    def wait_empty(self, when):
        """What was killed may need a moment to be gone."""
        try:
            until(lambda: not self.left(), "nothing is left", 1)
        except AssertionError:
            raise AssertionError(f"{when}: left over: {[describe(p) for p in self.left()]}") from None

    def left(self):
        """Who lives here beside the two of ours; zombies count."""
        found = [p for p in net.inhabitants() if p not in self.core]
        return found + [p for p in children(self.gateway.pid) if p not in self.core and state_of(p) == "Z"]


def cycles(bench, units, n):
    """n starts and stops of each; the seconds of every stop, and how many processes there were in all."""
    rig = Rig(bench, units)
    took, seen = [], 0
    for i in range(n):
        rig.wait_up()
        seen += len(rig.left())
        rig.order("stop")
        took += rig.wait_stopped().values()
        rig.wait_empty(f"round {i}")
        rig.order("start")
    rig.wait_up()
    assert rig.gateway.gateway_pid() in rig.core
    return took, seen


@pytest.mark.fault
def test_nothing_is_left_of_any_kind(bench):
    units = [unit(kind) for kind in (*KINDS, *NEVER)]
    took, seen = cycles(bench, units, 10)
    assert len(took) == 10 * len(units) == 100 and max(took) < LIMIT * faults.SLACK
    assert seen >= 20 * len(units), "they had company"


@pytest.mark.fault
def test_the_end_of_inferd_is_the_end_of_all(bench):
    rig = Rig(bench, [unit(kind) for kind in (*KINDS, *NEVER)])
    rig.wait_up()
    began = time.monotonic()
    rig.gateway.signal(15)
    assert rig.gateway.wait_exit() == 0
    assert time.monotonic() - began < LIMIT * faults.SLACK
    rig.wait_empty("after the end")


@pytest.mark.fault
def test_what_never_becomes_ready_is_ended_by_its_deadline(bench):
    """Restarted, each time after its deadline, a delay between; nothing of the earlier runs is there."""
    deadline, delay = 400, 200
    units = [unit(k, ready_timeout_ms=deadline, restart="always", restart_delay_ms=delay, restart_max_ms=delay) for k in NEVER]
    rig = Rig(bench, units)
    until(lambda: all(rig.gateway.unit(n)["restarts"] >= 4 for n in rig.names), "each was restarted four times", 15)
    for name in rig.names:
        starts = [datetime.fromisoformat(r["ts"]).timestamp() for r in rig.gateway.log(msg="unit started", unit=name)]
        # a line is written after its process was begun, sometimes long after: over all of them the first line's delay counts once
        n, least = len(starts) - 1, (deadline + delay) / 1000
        assert n * least - 1 <= starts[-1] - starts[0] < n * (least + LIMIT) * faults.SLACK, starts
        reply = rig.gateway.chat(name)
        assert reply.status == 503, "and who asks for it is told so"
    rig.order("stop")
    rig.wait_stopped()
    rig.wait_empty("at the end")


# Floods: lines of 80 bytes at a pace, or as fast as the pipe takes them, or one line without an end.
FLOOD = ("python3 -c 'import os,time; b=(b\"x\"*79+b\"\\n\")*1250; t=time.monotonic(); n=0\n"
         "while True:\n os.write(1,b); n+=len(b); time.sleep(max(0,n/1e8-(time.monotonic()-t)))' &")
FLOODS = {"paced": FLOOD, "yes": "yes &", "zero": "cat /dev/zero &", "stderr": FLOOD.replace("os.write(1", "os.write(2")}
LOG_BYTES_PER_S = 100 * 3100  # lines of a unit that are logged in a second, as long as they may be


def flood(bench, kind, seconds, rate=200):
    """Latencies of another engine's requests before and during a flood, the master's load and what it logged."""
    script = f"{FLOODS[kind]} exec {PROGRAM} mock --name loud --models loud --port ${{PORT}}"
    loud = {"name": "loud", "command": ["/bin/sh", "-c", script], "models": ["loud"], "stop_grace_ms": GRACE_MS}
    calm = faults.mock_engine("calm", ("calm",))
    gateway = bench.up(faults.config([calm, loud]), env=faults.SANDBOXED)
    core = {gateway.pid, gateway.gateway_pid()}
    body = b'{"model":"calm","messages":[]}'
    gateway.wait_unit("calm", "ready")
    gateway.wait_unit("loud", "ready")
    gateway.ctl("stop", "loud")
    before = Load(gateway.address, rate=rate, body=body, count=int(rate * seconds)).__enter__().join()
    quiet = bytes_read(gateway.pid)
    gateway.ctl("start", "loud")
    gateway.wait_unit("loud", "ready")
    until(lambda: bytes_read(gateway.pid) > quiet + 1e6, "it floods")
    rss, size, cpu = faults.rss_kb(gateway.pid), os.path.getsize(gateway.out_path), cpu_seconds(gateway.pid)
    read = bytes_read(gateway.pid)
    began, calls = time.monotonic(), []
    with Load(gateway.address, rate=rate, body=body) as load:
        while time.monotonic() - began < seconds:
            asked = time.monotonic()
            gateway.admin("/units")
            calls.append(time.monotonic() - asked)
            time.sleep(0.05)
    during, took = load.outcomes, time.monotonic() - began
    logged = (os.path.getsize(gateway.out_path) - size) / took
    grown = faults.rss_kb(gateway.pid) - rss
    cpu, read = (cpu_seconds(gateway.pid) - cpu) / took, (bytes_read(gateway.pid) - read) / took
    restarted = time.monotonic()
    pid = gateway.unit("calm")["pid"]
    gateway.ctl("restart", "calm")
    until(lambda: (u := gateway.unit("calm"))["state"] == "ready" and u["pid"] != pid, "another unit is restarted meanwhile")
    restarted = time.monotonic() - restarted
    stopped = time.monotonic()
    gateway.ctl("stop", "loud")
    gateway.wait_unit("loud", "stopped")
    stopped = time.monotonic() - stopped
    calm_pid = gateway.unit("calm")["pid"]
    until(lambda: not [p for p in net.inhabitants() if p not in core and p != calm_pid], "and the flood has ended", 1)
    for outcomes in (before, during):
        assert all(o.good for o in outcomes), tally(outcomes)
    p99 = [percentile([o.seconds for o in outcomes], 99) for outcomes in (before, during)]
    return {"p99": p99, "logged": logged, "rss": grown, "cpu": cpu, "read": read, "admin": max(calls), "restart": restarted, "stop": stopped,
            "told": kind == "zero" or gateway.wait_log(msg="a unit writes more than is logged; `inferd ctl logs` has it"),
            "requests": len(during)}


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="utf-8") as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def bytes_read(pid):
    with open(f"/proc/{pid}/io", encoding="utf-8") as f:
        return int(re.search(r"rchar: (\d+)", f.read()).group(1))


def judge_flood(found):
    requests_log = 500 * 250  # the requests' own lines
    assert found["logged"] < LOG_BYTES_PER_S + requests_log, found
    assert found["read"] > 1e6, "it is taken, and dropped: who writes does not hang"
    assert found["rss"] < 4096, f"the master grew by {found['rss']} kB"
    assert found["stop"] < LIMIT * faults.SLACK and found["restart"] < 2 * faults.SLACK and found["admin"] < faults.SLACK, found
    assert found["told"], "what was left out is counted in the log"


@pytest.mark.fault
@pytest.mark.parametrize("kind", list(FLOODS))
def test_a_flood_of_output_drowns_nobody(bench, kind):
    judge_flood(flood(bench, kind, 2))


ROUNDS, AT_ONCE = 500, 2


@pytest.mark.fault
@pytest.mark.full
def test_10000_bad_children(bench):
    began = time.monotonic()
    units = [unit(kind, i) for kind in (*KINDS, *NEVER) for i in range(AT_ONCE)]
    took, seen = cycles(bench, units, ROUNDS)
    seconds = time.monotonic() - began
    problems = bench.finish()
    assert not problems, problems
    floods = {}
    for kind in FLOODS:
        floods[kind] = flood(bench, kind, 10)
        judge_flood(floods[kind])
        problems = bench.finish()
        assert not problems, problems
    paced = floods["paced"]
    late = max(took)
    reached = "missed" if late > LIMIT else "moonshot" if len(took) >= 10_000 else "minimum"
    faults.record(
        26, f"{len(took):,} stops of engines that ignore SIGTERM, leave grandchildren that hold the pipes, in their group, in "
        f"other sessions, twice forked, deaf to SIGTERM too, or zombies, or never answer: {len(KINDS) + len(NEVER)} kinds, "
        f"{seen:,} processes, {len(units)} engines at a time, {GRACE_MS} ms between SIGTERM and SIGKILL ({seconds:.0f} s); then "
        "floods of output beside 200 requests a second: 100 MB/s of lines on stdout, on stderr, `yes`, and /dev/zero",
        "stop <= grace + 1 s, 0 left over of 100; output never blocks the loop", "0 left over of 10,000",
        f"0 of {seen:,} processes left over; order to stopped: median {faults.ms(percentile(took, 50))}, p99 "
        f"{faults.ms(percentile(took, 99))}, max {faults.ms(late)}; floods: p99 of the others "
        + ", ".join(f"{faults.ms(f['p99'][0])} -> {faults.ms(f['p99'][1])} ({k})" for k, f in floods.items())
        + f", taken at {', '.join(str(round(f['read'] / 1e6)) for f in floods.values())} MB/s, log {paced['logged'] / 1000:.0f} kB/s with the requests' lines, master {100 * paced['cpu']:.0f} % of a core at 100 MB/s "
        f"and {100 * floods['yes']['cpu']:.0f} % with `yes`, at most {max(f['rss'] for f in floods.values())} kB larger, an order answered "
        f"in {faults.ms(max(f['admin'] for f in floods.values()))} at most", reached,
        "" if reached == "moonshot" else "see the slowest stop" if reached == "missed" else "time")
