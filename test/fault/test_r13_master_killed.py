# SPDX-License-Identifier: Apache-2.0
"""R13: the master is killed. Gateway and engines die with it; what left an engine's group and session
is ended by the next start, known by its mark; nothing ever runs twice."""

import os
import time

import pytest

from harness import faults, net
from harness.gateway import Gateway
from harness.load import percentile
from harness.tree import alive
from harness.wait import until

NAMES = ("one", "two")


def marked(runtime_dir):
    """{pid: unit} of all processes that an inferd of this runtime directory started as a unit's."""
    found = {}
    for name in os.listdir("/proc"):
        if not name.isdigit() or not alive(int(name)):
            continue
        try:
            with open(f"/proc/{name}/environ", "rb") as f:
                marks = [v for v in f.read().split(b"\0") if v.startswith(b"INFERD_UNIT=")]
            with open(f"/proc/{name}/cmdline", "rb") as f:
                words = f.read().split(b"\0")
        except OSError:
            continue
        if marks and words[1:2] == [b"mock"] and runtime_dir.encode() in b"\0".join(words):
            found[int(name)] = marks[0].split(b"/")[1].decode()
    return found


class Rig:
    """One runtime directory, one master after another."""

    def __init__(self, bench, args):
        self.bench, self.folder = bench, bench.path("one-folder")
        # what a process of this rig can be known by from outside
        label = f"{self.folder}/run"
        self.port = net.free_port()
        self.config = faults.config([
            faults.mock_engine(n, args=["--fork-helper", "--fork-stray", "--fault", f"{label}=close", *args],
                               at="${SOCKET}" if n == "two" else "${PORT}") for n in NAMES])
        self.config["listen"] = [{"address": f"127.0.0.1:{self.port}"}]
        self.runtime_dir = label

    def start(self):
        gateway = self.bench.register(Gateway.__new__(Gateway), self.folder, config=self.config, env=faults.SANDBOXED)
        for n in NAMES:
            gateway.wait_unit(n, "ready")
        return gateway

    def processes(self):
        return marked(self.runtime_dir)


def round_of(rig, patient):
    """Start, SIGKILL; returns all that ran, how long gateway and engines outlived it (None: did not wait), and the
    time of the start."""
    began = time.monotonic()
    gateway = rig.start()
    ready = time.monotonic() - began
    ran = until(lambda: len(p := rig.processes()) == 6 and p, "two engines, each with a helper and a stray")
    direct = [gateway.gateway_pid()] + [gateway.unit(n)["pid"] for n in NAMES]
    gateway.kill()
    killed = time.monotonic()
    if patient:
        until(lambda: not any(alive(p) for p in direct), "gateway and engines die with the master", 2, every=0.001)
    outlived = time.monotonic() - killed if patient else None
    os.unlink(gateway.ready_path)
    rig.bench.trees.remove(gateway)
    return set(ran) | set(direct), outlived, ready


def run(bench, n, args=()):
    """Every other time it is started again at once, on the same port, while the last gateway may still be dying."""
    rig = Rig(bench, args)
    outlived, ready, before = [], [], set()
    for i in range(n + 1):
        ran, seconds, start = round_of(rig, i % 2 == 0)
        again = [p for p in before if alive(p) and p not in ran] + list(before & ran)
        assert not again, f"round {i}: an earlier run's processes are still there: {again}"
        before = ran
        outlived.append(seconds or 0)
        ready.append(start)
    last = rig.start()
    now = until(lambda: len(p := rig.processes()) == 6 and p, "one process of each kind a unit")
    assert not set(now) & before, "every process is the new run's"
    assert sorted(now.values()) == ["one"] * 3 + ["two"] * 3
    problems = last.stop()
    assert not problems, problems
    assert not rig.processes(), "nothing is left when it ends in order"
    return outlived, ready


@pytest.mark.fault
def test_master_killed_and_started_again_at_once(bench):
    outlived, _ = run(bench, 5)
    assert max(outlived) < faults.SLACK


@pytest.mark.fault
def test_what_ignores_sigterm_is_swept_too(bench):
    run(bench, 2, ["--ignore-sigterm"])


@pytest.mark.fault
@pytest.mark.full
def test_1000_kills_of_the_master(bench):
    began = time.monotonic()
    outlived, ready = run(bench, 1000)
    faults.record(
        13, "1,000 SIGKILLs of the master with two engines, each with a helper in its group and a process that left group "
        "and session; started again on the same runtime directory and port, every other time at once",
        "0 left over after the next start, 0 duplicates, in 20", "0 in 1,000, double-forking engines included",
        f"0 of 6,000 processes left over, 0 duplicates, no start failed; gateway and engines gone {faults.ms(max(outlived))} "
        f"after the master at most; start with the sweep to all engines ready: median {faults.ms(percentile(ready, 50))}, "
        f"max {faults.ms(max(ready))}; {time.monotonic() - began:.0f} s in all", "moonshot")
