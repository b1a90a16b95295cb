# SPDX-License-Identifier: Apache-2.0
"""A16 for registry, router and babysitter: SIGTERM, SIGINT and SIGHUP in any order and at any time, with requests
open and with engines that do not want to go. Two that ask for the end are always the end, nothing hangs, and
nothing is left behind. Of `inferd up`: test_r24_signals_in_any_order.py."""

import random
import signal
import time

import pytest

from harness import raw
from harness.tree import alive, children, signal_mask
from harness.wait import SLOW, until

NAMES = {"T": signal.SIGTERM, "I": signal.SIGINT, "H": signal.SIGHUP}
LIMIT = 2.0  # seconds from the second signal to the end
ENDS = {"registry": "TI", "router": "TI", "babysitter": "TIH"}


def start(bench, role, dice):
    """The program, and a connection on which something is under way (or None)."""
    if role == "registry":
        r = bench.registry()
        r.register()
        return r, raw.Connection(r.address)
    if role == "router":
        m = bench.mock(args=["--tokens-per-second", "20", "--repeat", "100"])
        port = int(m.address.rpartition(":")[2])
        r = bench.router(static=[{"name": "m", "host": "127.0.0.1", "port": port, "metadata": {"models": ["tiny"]},
                                  "health_url": m.url + "/health"}], args=["--drain-timeout", "30"])
        c = raw.Connection(r.address)
        c.request("POST", "/v1/chat/completions", json_body={"model": "tiny", "stream": True, "messages": []})
        assert c.head().status == 200
        return r, c
    stubborn = dice.random() < 0.5
    args = ["--fork-helper", "--fork-stray", *(["--ignore-sigterm"] if stubborn else [])]
    return bench.sitter(models=("tiny",), mock_args=args, config={"babysitter": {"stop_grace": 30, "restart_delay": 1}}), None


def family(pid):
    found = [pid]
    for p in found:
        found += children(p)
    return found


def one(bench, role, dice):
    program, c = start(bench, role, dice)
    if role == "babysitter" and dice.random() < 0.7:
        program.wait_state("ready")
    if role == "registry" and dice.random() < 0.5:
        c.send(b"GET /services HTTP/1.1\r\n")  # a head that never ends
    known = family(program.pid)
    word = "".join(dice.choice("TIHH" if role != "registry" else "TI") for _ in range(dice.randrange(1, 6)))
    word += "T" * max(0, 2 - sum(letter in ENDS[role] for letter in word))
    until(lambda: signal_mask(program.pid, "SigCgt", signal.SIGTERM), "it hears signals")
    ends, second = 0, None
    for letter in word:
        time.sleep(dice.choice((0, 0.001, 0.01, dice.uniform(0, 0.2))))
        while program.running() and signal_mask(program.pid, "ShdPnd", NAMES[letter]):
            time.sleep(0.0005)  # to the kernel two of a kind are one, and no program could tell
        if not program.running():
            break
        program.signal(NAMES[letter])
        ends += letter in ENDS[role]
        if ends == 2 and second is None:
            second = time.monotonic()
    assert program.wait_exit(15) == 0, f"{role} {word}"
    took = time.monotonic() - (second or time.monotonic())
    assert took < LIMIT * SLOW, f"{role} {word}: {took:.1f} s after the second"
    until(lambda: not any(alive(p) for p in known), f"{role} {word}: all of {known} are gone", 4)
    if c:
        c.close()
    return took


@pytest.mark.fault
@pytest.mark.parametrize("role", ["registry", "router", "babysitter"])
def test_signals_in_any_order(bench, role):
    dice = random.Random(16)
    for _ in range(8):
        one(bench, role, dice)
        problems = bench.finish()
        assert not problems, problems


@pytest.mark.fault
@pytest.mark.full
@pytest.mark.parametrize("role", ["registry", "router", "babysitter"])
def test_200_orders(bench, role):
    dice = random.Random(17)
    for i in range(200):
        one(bench, role, dice)
        problems = bench.finish()
        assert not problems, f"round {i}: {problems}"
