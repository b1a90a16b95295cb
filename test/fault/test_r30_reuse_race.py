# SPDX-License-Identifier: Apache-2.0
"""R30: an engine closes its idle connections just as the gateway sends on them. The request goes out
again on a fresh connection; no client notices, and it is nobody's failure.

Each engine closes after 5 ms, and is asked by a load of its own every 5 to 8 ms; then after 1 s, asked
in bursts about 1 s apart. `inferd bench` is the client: it counts what failed."""

import json
import os
import subprocess
import threading
import time

import pytest

from harness import faults
from harness.tree import PROGRAM, sanitizer_env
from harness.wait import SLOW


def start(bench, engines, idle_ms):
    """A gateway of one lane, so that an engine's connections are one pool; a model for each engine."""
    mocks = [bench.mock(f"m{i}", models=(f"m{i}",), args=["--keepalive-ms", idle_ms]) for i in range(engines)]
    return bench.up(faults.config(remotes=[faults.remote(m.name, m.url, models=(m.name,)) for m in mocks]),
                    env=faults.SANDBOXED, lanes="1", args=["--log-level", "warn"])


def load(gateway, model, *args):
    """What `inferd bench` counted; it asks until it is done."""
    done = subprocess.run([PROGRAM, "bench", gateway.url, "--model", model, "--json", *map(str, args)], capture_output=True,
                          text=True, timeout=900 * SLOW, check=False, env=dict(os.environ, **sanitizer_env(gateway.folder)))
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def together(gateway, models, args_of):
    """One load a model, all at once; their reports."""
    reports = {}
    threads = [threading.Thread(target=lambda m=m: reports.update({m: load(gateway, m, *args_of(i))}))
               for i, m in enumerate(models)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(reports) == len(models), "a load did not report"
    return list(reports.values())


def judge(gateway, reports, n):
    failed = sum(r["failed"] + r["truncated"] + r["unfinished"] for r in reports)
    assert failed == 0 and sum(r["ok"] for r in reports) == n, [r for r in reports if r["failed"]]
    counted = gateway.metrics()
    errors = sum(v for k, v in counted.items() if k.startswith("inferd_engine_errors_total"))
    assert errors == 0, "a race is nobody's failure"
    return counted["inferd_engine_reuse_races_total"], counted["inferd_engine_connections_stale_total"]


def at_5_ms(bench, engines, each):
    """Around the limit, which counts from the next millisecond: the engines are asked every 5 to 8 ms."""
    gateway = start(bench, engines, 5)
    reports = together(gateway, [f"m{i}" for i in range(engines)],
                       lambda i: ("--rate", 200 - 80 * i // engines, "--requests", each, "--connections", 4))
    return judge(gateway, reports, engines * each)


def at_1_s(bench, bursts, each):
    """`bursts` bursts of `each` requests on 50 connections, the pause between them about 1 s."""
    gateway = start(bench, 1, 1000)
    reports = []
    for i in range(bursts):
        reports.append(load(gateway, "m0", "--requests", each, "--connections", 50))
        time.sleep(0.96 + 0.001 * (i % 40))  # the pause is the fault: it ends as the engine's limit does
    return judge(gateway, reports, bursts * each)


@pytest.mark.fault
def test_idle_connections_close_after_5_ms(bench):
    races, stale = at_5_ms(bench, engines=4, each=500)
    assert races + stale > 0, "nothing was closed: no test"


@pytest.mark.fault
def test_idle_connections_close_after_1_s(bench):
    at_1_s(bench, bursts=3, each=500)


@pytest.mark.fault
@pytest.mark.full
def test_100000_requests_at_each_limit(bench):
    quick = at_5_ms(bench, engines=10, each=10000)
    problems = bench.finish()
    assert not problems, problems
    slow = at_1_s(bench, bursts=50, each=2000)
    faults.record(
        30, "Engines that close idle connections after 5 ms, each asked every 5 to 8 ms (10 engines, 100,000 requests); and "
        "after 1 s, asked in 50 bursts about 1 s apart (100,000 requests)", "0 failed of 100,000 at 1 s", "the same at 5 ms",
        f"0 failed of 100,000 at 5 ms: {quick[0]:,.0f} requests met a close under way and went out again, {quick[1]:,.0f} "
        f"connections were found closed before; 0 of 100,000 at 1 s ({slow[0]:,.0f} and {slow[1]:,.0f}); 0 counted as an "
        "engine's failure", "moonshot")
