# SPDX-License-Identifier: Apache-2.0
"""Names that stand for several models: targets share the requests, fallbacks answer when they cannot, and the
client is told which model it was."""

import json

import pytest

from harness import fake
from harness.gateway import remote
from harness.wait import until


def busy(c):
    c.reply({"error": {"message": "busy"}}, status=503)


def told(reply):
    """(status, model in the reply, x-inferd-model, x-inferd-fallback)"""
    return reply.status, reply.json().get("model"), reply["x-inferd-model"], reply["x-inferd-fallback"]


def answers_as(model):
    def script(c):
        assert c.json()["model"] == model, c.body
        c.reply({"id": "c", "model": model, "choices": []})
    return script


@pytest.mark.smoke
@pytest.mark.threads
def test_a_fallback_answers_and_the_client_is_told(bench):
    main, spare = bench.engine(busy), bench.engine(answers_as("small"))
    up = bench.up({
        "remote": [remote(main, name="main"), remote(spare, name="spare", models=("small",))],
        "model": {"tiny": {"fallbacks": ["small"]}, "nick": {"target": "tiny"}, "two": {"target": "tiny", "fallbacks": []}},
    })
    assert told(up.chat()) == (200, "tiny", "small", "1")
    assert told(up.chat("nick")) == (200, "nick", "small", "1")  # what its target falls back to
    assert told(up.chat("small")) == (200, "small", None, None)
    assert len(main.requests) == 2 and len(spare.requests) == 3
    assert up.metrics()['inferd_fallbacks_total{model="small"}'] == 2
    assert up.wait_log(msg="request", model="nick", served_model="small")["attempts"] >= 1
    main.script = answers_as("tiny")
    until(lambda: told(up.chat()) == (200, "tiny", "tiny", None), "the model itself answers again")
    assert up.chat("nobody").status == 404


def test_the_process_is_dead(bench):
    main, spare = bench.engine(), bench.engine(answers_as("small"))
    up = bench.up({"remote": [remote(main, name="main"), remote(spare, name="spare", models=("small",))],
                   "model": {"x": {"target": "tiny", "fallbacks": ["small"]}}})
    assert told(up.chat("x")) == (200, "x", "tiny", None)
    main.close()
    for _ in range(3):
        assert told(up.chat("x")) == (200, "x", "small", "1")
    assert up.chat("x", stream=False).json()["model"] == "x"


def test_a_stream_falls_back_before_its_first_byte_only(bench):
    def hangs_up(c):
        c.rst()

    def breaks(c):
        c.stream_head()
        c.token("one")
        c.rst()

    def streams(c):
        c.stream_head()
        c.token("two", model="small")
        c.done()

    main, spare = bench.engine(hangs_up), bench.engine(streams)
    up = bench.up({"remote": [remote(main, name="main"), remote(spare, name="spare", models=("small",))],
                   "model": {"x": {"target": "tiny", "fallbacks": ["small"]}}})
    reply = up.chat("x", stream=True)
    assert reply.status == 200 and reply.whole and reply["x-inferd-model"] == "small"
    assert [json.loads(e)["model"] for e in reply.events()[:-1]] == ["x"] and reply.events()[-1] == "[DONE]"
    main.script = breaks
    until(lambda: up.chat("x", stream=True)["x-inferd-model"] == "tiny", "its engine is asked again")
    reply = up.chat("x", stream=True)
    if reply["x-inferd-model"] == "tiny":
        assert not reply.whole and "[DONE]" not in reply.events()


def test_targets_share_by_weight(bench):
    one, two = bench.engine(answers_as("m-1")), bench.engine(answers_as("m-2"))
    up = bench.up({"remote": [remote(one, name="one", models=("m-1",)), remote(two, name="two", models=("m-2",))],
                   "model": {"x": {"targets": [{"model": "m-1", "weight": 9}, {"model": "m-2", "weight": 1}]},
                             "y": {"targets": [{"model": "m-1"}, {"model": "m-2", "weight": 0}]}}}, lanes="1")
    seen = [told(up.chat("x")) for _ in range(40)]
    assert {s[:2] for s in seen} == {(200, "x")} and {s[3] for s in seen} == {None}
    assert [s[2] for s in seen].count("m-2") == 4
    sticky = {told(up.chat("x", prompt_cache_key="k"))[2] for _ in range(10)}
    assert len(sticky) == 1
    assert {told(up.chat("y"))[2] for _ in range(5)} == {"m-1"}
    one.close()
    assert {told(up.chat("x"))[2] for _ in range(10)} == {"m-2"}
    assert told(up.chat("y"))[2] == "m-2"


def test_lists_and_routes(bench):
    one = bench.engine()
    up = bench.up({"remote": [remote(one, name="one")], "model": {
        "split": {"targets": [{"model": "lost"}, {"model": "tiny", "weight": 3}]},
        "saved": {"target": "lost", "fallbacks": ["tiny"]},
        "gone": {"target": "lost"},
        "tiny": {"fallbacks": ["lost"]},
        "lost": {"target": "lost-too"},
    }} | {"remote": [remote(one, name="one"), {"name": "asked", "url": "http://127.0.0.1:9"}]})
    until(lambda: [m["id"] for m in up.get("/v1/models").json()["data"]] == ["saved", "split", "tiny"], "who is served")
    assert up.get("/v1/models/saved").json()["id"] == "saved" and up.get("/v1/models/gone").status == 404
    routes = {m["name"]: m for m in up.admin("/routes")["models"]}
    assert routes["split"]["targets"] == [{"model": "lost-too", "weight": 1}, {"model": "tiny", "weight": 3}]
    assert routes["saved"]["alias_of"] == "lost-too" and routes["saved"]["fallbacks"] == ["tiny"]
    assert routes["tiny"]["alias_of"] is None and routes["tiny"]["targets"] == []
    assert [e["name"] for e in routes["split"]["engines"]] == ["one"]
    shown = {row.split()[0]: row for row in up.ctl("models").stdout.splitlines()}
    assert shown["split"].endswith("lost-too 1, tiny 3") and shown["saved"].endswith("lost-too else tiny")


def test_names_that_are_no_field_values(bench):
    """The header has the model's name percent-encoded when it must be."""
    name = "org/modèle %1"
    main, spare = bench.engine(fake.answer_chat), bench.engine(answers_as(name))
    main.script = busy
    up = bench.up({"remote": [remote(main, name="main"), remote(spare, name="spare", models=(name,))],
                   "model": {"tiny": {"fallbacks": [name]}}})
    assert told(up.chat()) == (200, "tiny", "org%2Fmod%C3%A8le%20%251", "1")
