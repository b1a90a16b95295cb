# SPDX-License-Identifier: Apache-2.0
"""R24: SIGTERM twice, SIGINT, SIGHUP during the drain, SIGTERM during the start, in any order and at
any time. The second one that asks for the end cuts: two seconds later nothing runs any more."""

import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import Bench

from harness import faults, net
from harness.load import Streams, percentile
from harness.tree import alive, children, signal_mask
from harness.wait import SLOW, until

NAMES = {"T": signal.SIGTERM, "I": signal.SIGINT, "H": signal.SIGHUP}
LIMIT = 2.0
WORKERS = 4


def configuration(stubborn=False):
    args = ["--tokens-per-second", "20", "--repeat", "1000"] + (["--ignore-sigterm"] if stubborn else [])
    return faults.config([faults.mock_engine("one", args=args, stop_grace_ms=20000),
                          faults.mock_engine("two", models=("two",), args=["--fork-helper", "--fork-stray"], at="${SOCKET}")],
                         drain_delay_ms=200, drain_ms=20000)


def family(pid):
    """The process and all that descend from it."""
    found = [pid]
    for p in found:
        found += children(p)
    return found


def send(gateway, word, pauses):
    """The signals of `word`, a pause before each; returns when the second one that ends was sent, or the only one.
    An equal one that is still pending is waited for: to the kernel two of a kind are one, and no program could tell."""
    ends, sent = 0, None
    for letter, pause in zip(word, pauses):
        end = time.monotonic() + pause
        while gateway.running() and (time.monotonic() < end or signal_mask(gateway.pid, "ShdPnd", NAMES[letter])):
            time.sleep(min(0.001, pause))
        if not gateway.running():
            break
        gateway.signal(NAMES[letter])
        ends += letter in "TI"
        if ends <= 2 and letter in "TI":
            sent = time.monotonic()
    return sent or time.monotonic()


def ends_in_time(gateway, second, known, what):
    """Exit status 0 within LIMIT of the second signal, and nothing left."""
    try:
        status = gateway.wait_exit(10)
    except AssertionError as e:
        raise AssertionError(f"{what}: {e}\n{gateway.story()}") from None
    took = time.monotonic() - second
    assert status == 0, f"{what}: exit {status}"
    until(lambda: not any(alive(p) for p in known), f"{what}: all of {known} are gone", 2)
    return took


def one(bench, word, pauses, after=None, streams=0, stubborn=False):
    """`after`: seconds from the start to the first signal; None: when it is ready."""
    gateway = bench.up(configuration(stubborn), env=faults.SANDBOXED, wait=after is None)
    talk = None
    if after is None:
        gateway.wait_unit("one", "ready")
        gateway.wait_unit("two", "ready")
        talk = Streams(gateway.address, streams) if streams else None
        if talk:
            until(lambda: talk.talking() == streams, "the streams talk")
    else:
        pauses = [after, *pauses[1:]]
    known = set(family(gateway.pid))
    second = send(gateway, word, pauses)
    what = f"{word} {[round(p, 3) for p in pauses]} after={after} streams={streams} stubborn={stubborn}"
    if after is not None and gateway.wait_exit(10) in (-signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP):
        assert not gateway.stdout(), f"{what}: it had begun, so the signal's own end is not the answer"
        gateway.killed = True
        took = 0.0
    else:
        took = ends_in_time(gateway, second, known, what)
    if talk:
        assert {o.stream_end() for o in talk.join()} == {"told"}, what
    return took


CASES = [
    ("TT", [0, 0], {}), ("TT", [0, 0.1], {"streams": 5}), ("TI", [0, 0.4], {"streams": 5}), ("IT", [0, 0.4], {"streams": 5}),
    ("II", [0, 0.05], {"stubborn": True}), ("TT", [0, 0.6], {"stubborn": True}), ("THT", [0, 0.1, 0.3], {"streams": 5}),
    ("THHHT", [0, 0, 0.01, 0.3, 0], {"streams": 5}), ("HTHT", [0, 0, 0, 0.1], {"streams": 5}),
]


@pytest.mark.fault
@pytest.mark.parametrize("word,pauses,how", CASES, ids=[f"{w}-{i}" for i, (w, _, _) in enumerate(CASES)])
def test_the_second_signal_cuts(bench, word, pauses, how):
    assert one(bench, word, pauses, **how) < LIMIT * faults.SLACK


@pytest.mark.fault
def test_one_signal_during_the_start_ends_it(bench):
    for after in (0.0, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1):
        one(bench, "T", [0], after=after)


@pytest.mark.fault
def test_signals_at_the_very_end_do_not_kill(bench):
    """The last moment, when nobody listens for signals any more: none may do what it does by default."""
    for letter in "HTI":
        gateway = bench.up(configuration(), env=faults.SANDBOXED)
        gateway.wait_unit("two", "ready")
        gateway.signal(signal.SIGTERM)
        gateway.signal(signal.SIGTERM)
        while gateway.running():
            gateway.signal(NAMES[letter])
            time.sleep(0.0002)
        assert gateway.wait_exit() == 0


@pytest.mark.fault
def test_signals_during_the_start(bench):
    rng = random.Random(24)
    for _ in range(10):
        word, pauses = random_word(rng)
        one(bench, word, pauses, after=rng.uniform(0, 0.2))


def random_word(rng):
    word = "".join(rng.choice("TIHTH") for _ in range(rng.randrange(2, 8)))
    word += "T" * max(0, 2 - sum(c in "TI" for c in word))
    return word, [rng.choice((0, 0, 0.001, 0.01, rng.uniform(0, 0.3))) for _ in word]


def orders(folder, seed, n):
    """n random orders, one after the other, in a network of their own; (times of the ends, how many during a start)."""
    bench = Bench(folder, net.enter() is None)
    rng = random.Random(seed)
    took, starts = [], 0
    for i in range(n):
        word, pauses = random_word(rng)
        after = rng.uniform(0, 0.15) if i % 2 else None
        starts += after is not None
        took.append(one(bench, word, pauses, after, 0 if after is not None else rng.choice((0, 3)), rng.random() < 0.3))
        problems = bench.finish()
        assert not problems, f"seed {seed}, round {i}: {word}: {problems}"
    return took, starts


@pytest.mark.fault
@pytest.mark.full
def test_1000_random_orders(bench):
    began = time.monotonic()
    with ThreadPoolExecutor(WORKERS) as pool:
        found = list(pool.map(lambda w: orders(f"{bench.folder}/{w}", w, 1000 // WORKERS), range(WORKERS)))
    took = [t for times, _ in found for t in times]
    starts = sum(n for _, n in found)
    seconds = time.monotonic() - began
    assert max(took) <= LIMIT * SLOW
    reached = "minimum" if max(took) <= LIMIT else "missed"
    faults.record(
        24, f"1,000 random orders of SIGTERM, SIGINT and SIGHUP, {starts} of them from within the first 150 ms of the start, "
        "with streams open and with engines that ignore SIGTERM", "exit within 2 s of the second, in 1,000 orders, no hang",
        "10^5 random orders", f"1,000 exits in order, 0 processes left over; second signal to exit: median "
        f"{faults.ms(percentile(took, 50))}, p99 {faults.ms(percentile(took, 99))}, max {faults.ms(max(took))}", reached,
        f"each order is a whole start and end of a gateway with two engines: 10^5 of them take {seconds * 100 / 60:.0f} minutes"
        if reached == "minimum" else "see the longest")
