# SPDX-License-Identifier: Apache-2.0
"""Requests of one session go to one engine, and to the same one from every gateway. Which one that must be is
computed by harness/rendezvous.py, in another language than the program's."""

import pathlib
import re
import threading

import pytest

from harness.gateway import remote
from harness.rendezvous import hash64, home
from harness.wait import SLOW, until

PAGE = pathlib.Path(__file__).parents[2] / "docs/routing.md"
NAMES = ["e-one", "e-two", "e-three"]


def test_the_vectors_of_the_page():
    rows = re.findall(r"^\| `(.*?)` \| `(.*?)` \| `([0-9a-f]{16})` \|$", PAGE.read_text(encoding="utf-8"), re.M)
    assert len(rows) >= 7
    for session, name, value in rows:
        assert f"{hash64(session.encode() + bytes([255]) + name.encode()):016x}" == value, (session, name)


def fleet(bench, weights):
    engines = {name: bench.engine() for name in weights}
    return engines, {"remote": [remote(engines[n], name=n, weight=w) for n, w in weights.items()]}


def asked(engines):
    return {name: len(e.requests) for name, e in engines.items()}


def served_by(engines, ask):
    """The engine that one request went to."""
    before = asked(engines)
    reply = ask()
    assert reply.status == 200, reply
    moved = [n for n, count in asked(engines).items() if count != before[n]]
    assert len(moved) == 1, moved
    return moved[0]


@pytest.mark.smoke
@pytest.mark.threads
def test_two_gateways_agree(bench):
    weights = dict(zip(NAMES, (1, 2, 5)))
    engines, config = fleet(bench, weights)
    config["remote"].reverse()  # the order of the file does not matter
    first = bench.up(config)
    config["remote"].reverse()
    second = bench.up(config)
    homes = set()
    for i in range(20):
        key = f"conversation {i} é"
        want = home(f"tiny:prompt_cache:{key}", weights)
        for up in (first, second, first):
            assert served_by(engines, lambda: up.chat(prompt_cache_key=key)) == want
        homes.add(want)
    assert len(homes) > 1
    assert first.metric("inferd_session_requests_total") == 40


def test_what_names_a_session(bench):
    engines, config = fleet(bench, dict.fromkeys(NAMES, 1))
    config["affinity"] = {"header": "x-chat"}
    config["model"] = {"nick": {"target": "tiny"}}
    up = bench.up(config, lanes="1")
    weights = dict.fromkeys(NAMES, 1)

    def post(body, **fields):
        return lambda: up.post("/v1/chat/completions", json_body={"model": "tiny", "messages": [], **body}, headers=fields)

    for i in range(6):
        for body, fields, session in (
                ({"prompt_cache_key": f"k{i}", "user": "u"}, {"X-Chat": "h"}, f"tiny:prompt_cache:k{i}"),
                ({"user": f"u{i}"}, {"X-Chat": "h"}, f"tiny:user:u{i}"),
                ({"user": {"id": 1}, "prompt_cache_key": None}, {"X-CHAT": f"h{i}"}, f"tiny:header:h{i}"),
                ({"user": "x" * 257, "prompt_cache_key": ""}, {"x-chat": f"h{i}"}, f"tiny:header:h{i}"),
                ({"user": f"u{i}", "model": "nick"}, {}, f"tiny:user:u{i}")):  # an alias shares its target's caches
            assert served_by(engines, post(body, **fields)) == home(session, weights), session
    before = up.metric("inferd_session_requests_total")
    assert before == 30
    spread = {served_by(engines, post({"user": 7, "prompt_cache_key": ["k"]}, **{"X-Session-Id": "h"})) for _ in range(9)}
    assert spread == set(NAMES) and up.metric("inferd_session_requests_total") == before


def test_a_lost_engine_takes_only_its_own_sessions(bench):
    weights = dict.fromkeys(NAMES, 1)
    engines, config = fleet(bench, weights)
    up = bench.up(config)
    keys = [f"k{i}" for i in range(15)]
    left = {n: w for n, w in weights.items() if n != NAMES[1]}
    whole = list(config["remote"])
    for present, rows in ((weights, whole), (left, [r for r in whole if r["name"] != NAMES[1]]), (weights, whole)):
        up.write_config({"remote": rows})
        up.reload()
        wanted = [home(f"tiny:prompt_cache:{key}", present) for key in keys]
        until(lambda: [served_by(engines, lambda: up.chat(prompt_cache_key=k)) for k in keys] == wanted, "all are at home")


def test_a_hot_session_spills_over(bench):
    """Twelve requests of one session at once, with a bound of ceil(1.25 * 12 / 3)."""
    goes_on = threading.Event()

    def waits(c):
        goes_on.wait(20 * SLOW)
        c.reply({"id": "c", "model": "tiny", "choices": []})

    engines = {name: bench.engine(waits) for name in NAMES}
    config = {"remote": [remote(engines[n], name=n) for n in NAMES], "affinity": {"min_load": 2}}
    up = bench.up(config)
    own = home("tiny:prompt_cache:hot", dict.fromkeys(NAMES, 1))
    clients = []
    for i in range(12):
        clients.append(up.open_chat(stream=False, prompt_cache_key="hot"))
        until(lambda: sum(asked(engines).values()) == i + 1, "it was sent on")
        if i < 2:
            assert asked(engines)[own] == i + 1
    assert max(asked(engines).values()) <= 5 and min(asked(engines).values()) >= 2
    goes_on.set()
    for c in clients:
        assert c.reply().status == 200


def test_affinity_off(bench):
    engines, config = fleet(bench, dict.fromkeys(NAMES, 1))
    up = bench.up(dict(config, affinity={"enabled": False}), lanes="1")
    assert {served_by(engines, lambda: up.chat(prompt_cache_key="k")) for _ in range(9)} == set(NAMES)
