# SPDX-License-Identifier: Apache-2.0
"""R22: a storm of SIGHUPs under load, every second configuration broken. Not one request fails, open
streams go on, a broken file changes nothing, and what was refused is counted."""

import contextlib
import signal
import socket
import time

import pytest

from harness import faults, toml
from harness.load import Load, Streams, tally
from harness.wait import until


LISTEN = [{"address": "127.0.0.1:0"}]  # the same words in each file: the same socket


def good(engines, i):
    made = faults.config(engines, idle_ms=60000 + i)
    made["listen"] = LISTEN
    made["model"] = {f"alias-{i}": {"target": "tiny"}}
    return toml.dump(made)


def broken(engines, i, taken):
    """Each kind of mistake in turn. `taken`: an address that somebody else listens on."""
    text = good(engines, i)
    kinds = ["this is = = not TOML\n" + text, text + "\n[limit]\nidle_ms = 1\n", text.replace("idle_ms = ", "idle_ms = -"),
             good([engines[0], *engines], i), text + f'\n[[listen]]\naddress = "{taken}"\n',
             text.replace('target = "tiny"', "target = 1")]
    return kinds[i % len(kinds)]


def storm(gateway, engines, n, per_second, pids, taken):
    """n HUPs, half of them with a broken file; returns the number of the last good one, and memory over time."""
    began, memory = time.monotonic(), []
    last = 0
    for i in range(n):
        if i % 2:
            gateway.write_config(broken(engines, i // 2, taken))
        else:
            gateway.write_config(good(engines, i))
            last = i
        gateway.signal(signal.SIGHUP)
        due = began + (i + 1) / per_second
        until(lambda: time.monotonic() >= due, "its turn", 1, every=0.001)
        if i % (n // 10) == 0:
            memory.append([faults.rss_kb(p) for p in pids])
    memory.append([faults.rss_kb(p) for p in pids])
    return last, memory


@contextlib.contextmanager
def listening():
    """An address that is taken."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        yield f"127.0.0.1:{s.getsockname()[1]}"


def run(bench, hups, per_second, requests, streams=10):
    engines = [faults.mock_engine("one", args=["--latency-ms", "5"]),
               faults.mock_engine("two", args=["--latency-ms", "5"], at="${SOCKET}"),
               faults.mock_engine("slow", models=("slow",), args=["--tokens-per-second", "20", "--repeat", str(requests // 200)])]
    gateway = bench.up(good(engines, 0), env=faults.SANDBOXED)
    before = {e["name"]: gateway.wait_unit(e["name"], "ready")["pid"] for e in engines}
    pids = [gateway.pid, gateway.gateway_pid()]
    talk = Streams(gateway.address, streams, "slow", limit=120)
    until(lambda: talk.talking() == streams, "the streams talk")
    with Load(gateway.address, 200, count=requests) as load, listening() as taken:
        last, memory = storm(gateway, engines, hups, per_second, pids, taken)
        load.join()
    counts = tally(load.outcomes)
    assert counts == {"200": requests}, counts
    ends = [o.stream_end() for o in talk.join()]
    assert ends == ["done"] * streams, ends
    # SIGHUPs that come while a reload is under way are one reload; the last file is a broken one
    gateway.write_config(good(engines, hups))
    gateway.signal(signal.SIGHUP)
    until(lambda: gateway.chat(f"alias-{hups}").status == 200, "the last good file holds")
    until(lambda: gateway.chat(f"alias-{last}").status == 404, "and no other, on any lane")
    done, refused = gateway.metric("inferd_reloads_total"), gateway.metric("inferd_reloads_refused_total")
    assert done >= 1 and refused >= 1 and done + refused <= hups + 1, (done, refused)
    until(lambda: len(gateway.log(level="error")) == refused, "each refusal is said")
    after = {e["name"]: gateway.unit(e["name"])["pid"] for e in engines}
    assert after == before and gateway.gateway_pid() == pids[1], "nothing was restarted"
    faults.wait_idle(gateway)
    return int(done), int(refused), memory


@pytest.mark.fault
def test_reload_storm(bench):
    run(bench, hups=40, per_second=20, requests=400)


@pytest.mark.fault
def test_no_kind_of_broken_file_is_taken(bench):
    engines = [faults.mock_engine("one"), faults.mock_engine("two")]
    gateway = bench.up(good(engines, 0), env=faults.SANDBOXED)
    gateway.wait_unit("one", "ready")
    with listening() as taken:
        for i in range(6):
            gateway.write_config(broken(engines, i, taken))
            gateway.signal(signal.SIGHUP)
            until(lambda n=i + 1: gateway.metric("inferd_reloads_refused_total") == n, f"kind {i} is refused")
            assert gateway.chat("alias-0").status == 200
    assert gateway.metric("inferd_reloads_total") == 0
    said = until(lambda: len(r := gateway.log(level="error")) == 6 and r, "each refusal is said")
    assert all("reload refused" in r["msg"] for r in said), said


@pytest.mark.fault
@pytest.mark.full
def test_1000_reloads_under_load(bench):
    run(bench, hups=100, per_second=20, requests=1800)
    done, refused, memory = run(bench, hups=1000, per_second=20, requests=10400, streams=50)
    grown = [memory[-1][i] - memory[2][i] for i in range(2)]  # from the second tenth on: all pools are warm
    flat = max(grown) < 1024
    faults.record(
        22, "100 SIGHUPs in 5 s, then 1,000 in 50 s, every second file broken in one of six ways, under 200 requests a second "
        "and 50 streams", "0 failed of 1,800", "0 failed with 1,000 SIGHUPs; memory flat",
        f"0 failed of 1,800, 0 of 10,400, 60 streams whole; of 1,001 SIGHUPs {done} reloads done, {refused} refused, "
        f"{1001 - done - refused} came while one was under way and were one with it; resident memory from the 200th to the "
        f"1,000th: master {grown[0]:+,} kB, gateway {grown[1]:+,} kB", "moonshot" if flat else "minimum", "" if flat else "memory grew: see the figure")
