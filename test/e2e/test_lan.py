# SPDX-License-Identifier: Apache-2.0
"""The hosts of harness/netns.py: what tests with several machines believe of them."""

import socket

import pytest

from harness import raw
from harness.wait import Stopwatch, until


def connect(address, seconds=0.5):
    with socket.socket() as s:
        s.settimeout(seconds)
        try:
            s.connect((address, 8081))
        except OSError as e:
            return type(e).__name__
    return "connected"


def exposed(bench, host):
    with host:
        return bench.registry(port=8081, args=["--listen", host.address, "--insecure"])


def test_hosts_are_apart_and_reach_each_other(bench):
    lan = bench.lan("one", "two", "three")
    r = exposed(bench, lan.two)
    assert raw.get(r.address, "/health").status == 200, "from the switch"
    for host in lan.hosts:
        with host:
            assert connect(lan.two.address) == "connected", host.name
            assert connect("127.0.0.1") == "ConnectionRefusedError", host.name
    with lan.one:
        assert connect(lan.three.address) == "ConnectionRefusedError"


def test_dropped_packets_are_silence(bench):
    """A connect times out, an open connection hears nothing; others see both hosts; it heals."""
    lan = bench.lan("one", "two", "three")
    r = exposed(bench, lan.two)
    with lan.one:
        c = raw.Connection(r.address)
        c.request("GET", "/health")
        assert c.reply().status == 200
        lan.drop(lan.one, lan.two)
        assert connect(lan.two.address) == "TimeoutError"
        c.socket.settimeout(0.5)
        c.request("GET", "/health")
        with pytest.raises(AssertionError, match="nothing came"):
            c.reply()
    with lan.three:
        assert connect(lan.two.address) == "connected"
    lan.heal()
    with lan.one:
        until(lambda: connect(lan.two.address, 1) == "connected", "healed")


def test_a_cable_that_is_out(bench):
    lan = bench.lan("one", "two")
    r = exposed(bench, lan.two)
    lan.two.unplug()
    with lan.one:
        assert connect(lan.two.address) == "TimeoutError"
        watch = Stopwatch()
        assert connect(lan.two.address, 20) == "OSError", "no route to host"
        assert watch.seconds() < 15
    lan.heal()
    with lan.one:
        until(lambda: connect(lan.two.address, 1) == "connected", "healed")
    lan.two.halt(r)
    with lan.one:
        assert connect(lan.two.address) == "TimeoutError", "a machine without power refuses nothing"


def test_a_cable_that_loses_packets(bench):
    """A tenth of them, and all requests arrive, thanks to TCP."""
    lan = bench.lan("one", "two")
    r = exposed(bench, lan.two)
    cable = lan.lose(lan.two, 0.1)
    with lan.one:
        for _ in range(20):
            assert raw.get(r.address, "/health").status == 200
    assert cable.lost > 0
