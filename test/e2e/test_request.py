# SPDX-License-Identifier: Apache-2.0
"""One request through a gateway: who may ask, which paths there are, what reaches the engine, what the
client is told. Streams are test_stream.py's, bounds test_limits.py's."""

import json
import os
import threading

import pytest

from harness import fake, net, raw
from harness.gateway import remote
from harness.wait import SLOW, until


@pytest.fixture
def one(bench):
    """A gateway in front of one engine of the model tiny."""
    engine = bench.engine()
    up = bench.up({"remote": [remote(engine)], "model": {"nick": {"target": "tiny"}, "deep": {"target": "nick"}}})
    return up, engine


def refused(reply, status, code, kind=None):
    assert reply.status == status, reply
    error = reply.error()
    assert error["code"] == code, error
    if kind:
        assert error["type"] == kind, error
    return error


# ---- the main path ----


@pytest.mark.smoke
@pytest.mark.threads
def test_chat_and_stream(one):
    up, engine = one
    whole = up.chat()
    assert whole.status == 200 and whole.framing == "length", whole
    assert whole.json()["choices"][0]["message"]["content"] == "Hello"
    stream = up.chat(stream=True)
    assert stream["content-type"] == "text/event-stream" and stream.framing == "chunked" and stream.whole
    assert stream.events()[-1] == "[DONE]"
    assert [json.loads(e)["choices"][0]["delta"]["content"] for e in stream.events()[:-1]] == list("Hello")
    assert [c.target for c in engine.requests] == ["/v1/chat/completions"] * 2
    until(lambda: up.metric("inferd_requests_total") == 2, "both are counted")
    until(lambda: up.metrics()['inferd_engine_in_flight{engine="e"}'] == 0, "the slot is free")


@pytest.mark.smoke
def test_own_fields(one):
    up, _ = one
    for reply in (up.chat(), up.chat(stream=True), up.get("/health"), up.get("/nowhere")):
        assert reply["server"].startswith("inferd/") and reply["date"].endswith(" GMT")
        assert reply["x-request-id"] and len(reply["x-request-id"]) <= 128
        assert reply["connection"] is None
    assert all(name == name.lower() for name in up.get("/v1/models").names)


def test_every_body_length_is_relayed(bench):
    """Around the bounds of what is held, and in the ways an engine may frame it."""
    sizes = [0, 1, 100, 8159, 8160, 8161, 65535, 65536, 65537, 200000, 3000000]
    big = b"".join(b"%08d" % i for i in range(3000000 // 8))

    def script(c):
        asked = c.json()
        body = big[:asked["size"]]
        if asked["how"] == "length":
            c.send(c.head_of(200, [("Content-Type", "text/plain"), ("Content-Length", len(body))]) + body)
        elif asked["how"] == "chunked":
            c.send(c.head_of(200, [("Content-Type", "text/plain"), ("Transfer-Encoding", "chunked")]))
            for i in range(0, len(body), 7001):
                c.chunk(body[i:i + 7001])
            c.send(b"0\r\n\r\n")
        else:
            c.send(c.head_of(200, [("Content-Type", "text/plain"), ("Connection", "close")]) + body)
            c.fin()

    engine = bench.engine(script)
    up = bench.up({"remote": [remote(engine)]})
    for how in ("length", "chunked", "close"):
        for size in sizes:
            reply = up.chat(size=size, how=how)
            assert reply.status == 200 and reply.whole and reply.body == big[:size], (how, size, reply)
            if how == "length" or (how == "close" and size <= 65536):
                assert reply.framing == "length", (how, size, reply)
            else:
                assert reply.framing == "chunked", (how, size, reply)


def test_a_head_outlives_its_first_read(bench):
    """The head and a part of the body in one packet, the rest in another, while other replies are read."""
    def script(c):
        name = c.json()["tag"]
        body = (name * 4000)[:4000].encode()
        c.send(c.head_of(200, [("Content-Type", "text/plain"), ("X-Tag", name), ("Content-Length", len(body))]) + body[:10])
        c.engine.gate.wait(10 * SLOW)
        c.send(body[10:])

    engine = bench.engine(script)
    engine.gate = threading.Event()
    up = bench.up({"remote": [remote(engine)]}, lanes="1")
    open_ones = [up.open_chat(stream=False, tag=f"tag{i}-") for i in range(8)]
    until(lambda: len(engine.requests) == 8, "all with the engine")
    up.get("/health")
    engine.gate.set()
    for i, c in enumerate(open_ones):
        with c:
            reply = c.reply()
            assert reply["x-tag"] == f"tag{i}-" and reply.body.startswith(f"tag{i}-".encode()), reply


def test_keep_alive_and_pipelining(one):
    up, engine = one
    with up.open() as c:
        for _ in range(3):
            c.request("POST", "/v1/chat/completions", json_body={"model": "tiny"})
            assert c.reply().status == 200
        first = c.format("POST", "/v1/chat/completions", json_body={"model": "tiny", "stream": True})
        second = c.format("POST", "/v1/chat/completions", json_body={"model": "tiny"})
        third = c.format("GET", "/health")
        c.send(first + second + third)
        assert c.reply().events()[-1] == "[DONE]"
        assert c.reply().json()["object"] == "chat.completion"
        assert c.reply("GET").json()["router"] == "running"
    assert len({c.socket for c in engine.requests}) == 1, "one connection carried all of them"


def test_http_1_0(one):
    up, _ = one
    body = b'{"model":"tiny","stream":true}'
    with up.open() as c:
        c.send(b"POST /v1/chat/completions HTTP/1.0\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        reply = c.reply()
        assert reply.status == 200 and reply.framing == "close" and reply.ended_by == "fin", reply
        assert reply.events()[-1] == "[DONE]"
    with up.open() as c:
        for _ in range(2):
            c.send(b"GET /v1/models HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            reply = c.reply()
            assert reply.status == 200 and reply["connection"] == "keep-alive" and reply.framing == "length"


def test_expect_continue(one):
    up, engine = one
    body = b'{"model":"tiny"}'
    head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
    with up.open() as c:
        c.send(head % len(body))
        assert c.head().status == 100
        c.send(body)
        assert c.reply().status == 200
        assert engine.requests[-1]["expect"] is None
    with up.open() as c:
        c.send((head % len(body)).replace(b"/v1/chat", b"/v1/chit"))
        reply = c.head()
        assert reply.status == 404  # the final answer at once, no 100
        refused(c.body(reply), 404, "not_found")


# ---- what the engine gets ----


def test_the_request_as_the_engine_gets_it(bench):
    engine = bench.engine()
    up = bench.up({"remote": [{"name": "e", "url": engine.url + "/base/v9/", "models": ["tiny"]}]})
    body = b'{ "model" : "tiny", "x": [1, 2.50, "\\u00e9"] }'
    reply = up.post("/v1/chat/completions?a=b%20c&d", body=body, headers={
        "Authorization": "Bearer secret", "Cookie": "a=b", "User-Agent": "me", "X-Custom": "kept",
        "X-Forwarded-For": "1.2.3.4", "X-Forwarded-Proto": "https", "Forwarded": "for=1.2.3.4", "X-Real-IP": "1.2.3.4",
        "X_Under": "dropped", "Connection": "keep-alive, X-Named", "X-Named": "dropped", "Keep-Alive": "timeout=5",
        "TE": "trailers", "Proxy-Authorization": "Basic abc", "Accept": "text/plain", "Accept-Encoding": "gzip"})
    assert reply.status == 200
    call = engine.requests[0]
    assert call.target == "/base/v9/v1/chat/completions?a=b%20c&d"
    assert call.body == body and call["content-length"] == str(len(body))
    assert call["host"] == engine.url[7:]
    got = dict(call.fields)
    assert set(got) == {"host", "cookie", "user-agent", "x-custom", "accept", "accept-encoding", "x-request-id",
                        "content-length"}, got
    assert got["cookie"] == "a=b" and got["accept"] == "text/plain" and got["accept-encoding"] == "gzip"


def test_repeated_fields_and_chunked_bodies(one):
    up, engine = one
    with up.open() as c:
        c.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nX-A: 1\r\nX-A: 2\r\n"
               b'Trailer: X-T\r\n\r\n10;ext="1"\r\n{"model":"tiny"}\r\n0\r\nX-T: 1\r\n\r\n')
        assert c.reply().status == 200
    call = engine.requests[0]
    assert [v for n, v in call.fields if n == "x-a"] == ["1", "2"]
    assert call.body == b'{"model":"tiny"}' and call["content-length"] == "16" and call["trailer"] is None


def test_the_engines_key_replaces_the_clients(bench):
    engine = bench.engine()
    with open(bench.path("key"), "w", encoding="utf-8", opener=lambda p, f: os.open(p, f, 0o600)) as f:
        f.write("  engine-key \n")
    up = bench.up({"remote": [remote(engine, api_key_file=bench.path("key"))]})
    assert up.post("/v1/chat/completions", {"model": "tiny"}, headers={"Authorization": "Bearer mine"}).status == 200
    assert engine.requests[0]["authorization"] == "Bearer engine-key"
    assert "engine-key" not in up.stdout().decode()


@pytest.mark.parametrize("key", [b"two\nlines", b"a\r\nX-Evil: 1", b"nul\0x", b"", b" \n", b"caf\xc3\xa9 \x7f"])
def test_a_key_that_could_not_be_a_field(bench, key):
    """Refused at the start: never a way to write fields of one's own."""
    engine = bench.engine()
    with open(os.open(bench.path("key"), os.O_CREAT | os.O_WRONLY, 0o600), "wb") as f:
        f.write(key)
    up = bench.up({"remote": [remote(engine, api_key_file=bench.path("key"))]}, wait=False)
    up.expected_exit = 1
    assert up.wait_exit() == 1 and b"api_key_file" in up.stderr()


def test_request_ids(one):
    up, engine = one
    mine = "abc-" + "x" * 124
    assert up.chat(headers={"X-Request-Id": mine})["x-request-id"] == mine
    assert engine.requests[-1]["x-request-id"] == mine
    for bad in (mine + "y", "with blank", "caf\xe9", ""):
        reply = up.chat(headers={"X-Request-Id": bad})
        assert reply.status == 200 and reply["x-request-id"] not in (bad, ""), reply
        assert engine.requests[-1]["x-request-id"] == reply["x-request-id"]
    ids = [up.chat()["x-request-id"] for _ in range(5)]
    assert len(set(ids)) == 5
    up.wait_log(msg="request", id=ids[-1])


# ---- what the client gets of the engine's reply ----


def test_the_reply_as_the_client_gets_it(bench):
    def script(c):
        c.reply({"object": "chat.completion", "model": "tiny"}, fields=[
            ("X-Custom", "1"), ("X-Custom", "2"), ("Connection", "X-Named"), ("X-Named", "no"), ("Keep-Alive", "timeout=1"),
            ("Server", "secret/1"), ("Date", "yesterday"), ("X-Request-Id", "other"), ("Access-Control-Allow-Origin", "*"),
            ("Set-Cookie", "a=b"), ("Proxy-Authenticate", "Basic"), ("Retry-After", "9"), ("openai-version", "1")])

    engine = bench.engine(script)
    up = bench.up({"remote": [remote(engine)]})
    reply = up.chat()
    assert [v for n, v in reply.fields if n == "x-custom"] == ["1", "2"]
    assert reply["server"].startswith("inferd/") and reply["x-request-id"] != "other" and reply["date"] != "yesterday"
    assert reply["set-cookie"] == "a=b" and reply["retry-after"] == "9" and reply["openai-version"] == "1"
    for name in ("x-named", "keep-alive", "access-control-allow-origin", "proxy-authenticate", "connection"):
        assert reply[name] is None, name


@pytest.mark.parametrize("status", [201, 202, 301, 302, 307, 400, 401, 404, 418, 429, 500, 503, 599])
def test_any_status_of_the_engine_is_final(bench, status):
    def script(c):
        c.reply({"error": {"message": "mine"}}, status, fields=[("Location", "http://elsewhere/")])

    engine = bench.engine(script)
    up = bench.up({"remote": [remote(engine)]})
    reply = up.chat()
    assert reply.status == status and reply.json() == {"error": {"message": "mine"}}
    assert reply["location"] == "http://elsewhere/" and len(engine.requests) == 1


@pytest.mark.parametrize("status", [204, 304])
def test_no_body_where_there_is_none(bench, status):
    engine = bench.engine(lambda c: c.send(c.head_of(status, [("X-A", "b")])))
    up = bench.up({"remote": [remote(engine)]})
    with up.open() as c:
        for _ in range(2):
            c.request("POST", "/v1/chat/completions", json_body={"model": "tiny"})
            reply = c.reply()
            assert reply.status == status and reply["transfer-encoding"] is None and reply["x-a"] == "b"


def test_informational_replies_are_swallowed(bench):
    def script(c):
        c.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
        fake.answer_chat(c)

    engine = bench.engine(script)
    up = bench.up({"remote": [remote(engine)]})
    with up.open() as c:
        c.request("POST", "/v1/chat/completions", json_body={"model": "tiny"})
        assert c.head().status == 200


# ---- models and aliases ----


def test_an_alias_is_what_the_client_reads(one):
    up, engine = one
    for name in ("nick", "deep"):
        whole = up.chat(name)
        assert whole.json()["model"] == name and engine.requests[-1].json()["model"] == "tiny"
        assert whole.framing == "length"
        stream = up.chat(name, stream=True)
        assert {json.loads(e)["model"] for e in stream.events()[:-1]} == {name} and stream.events()[-1] == "[DONE]"
    plain = up.chat("tiny")
    assert plain.json()["model"] == "tiny"


def test_an_aliased_body_is_otherwise_untouched(one):
    up, engine = one
    sent = b'{"a":{"model":"nick"}, "messages":[{"role":"user","content":"model nick \\u00e9"}],\n "mod\\u0065l" : "nick","z":1e3}'
    assert up.post("/v1/chat/completions", body=sent, headers={"Accept-Encoding": "gzip"}).status == 200
    assert engine.requests[0].body == sent.replace(b': "nick"', b': "tiny"')
    assert engine.requests[0]["accept-encoding"] is None  # a coded reply could not be spliced
    assert engine.requests[0]["content-length"] == str(len(engine.requests[0].body))


@pytest.mark.parametrize("ends", ["\n\n", "\r\n\r\n", "\r\r"])
def test_aliases_in_streams_cut_anywhere(bench, ends):
    events = f'data: {{"model":"tiny","choices":[]}}{ends}: ping{ends}data: {{"x":{{"model":"tiny"}},"model":"tiny"}}{ends}' \
             f"data: [DONE]{ends}"

    def script(c):
        c.stream_head()
        for byte in events.encode():
            c.chunk(bytes([byte]))
        c.send(b"0\r\n\r\n")

    engine = bench.engine(script)
    up = bench.up({"remote": [remote(engine)], "model": {"other": {"target": "tiny"}}})
    reply = up.chat("other", stream=True)
    assert reply.whole
    want = events.replace('{"model":"tiny","c', '{"model":"other","c').replace(',"model":"tiny"', ',"model":"other"')
    assert reply.body == want.encode()


def test_large_aliased_replies(bench):
    text = "x" * 300000

    def script(c):
        before = {"id": "c", "text": text, "model": "tiny"} if c.json()["where"] == "end" else {"model": "tiny", "text": text}
        c.reply(before)

    engine = bench.engine(script)
    up = bench.up({"remote": [remote(engine)], "model": {"other": {"target": "tiny"}}})
    for where in ("end", "begin"):
        reply = up.chat("other", where=where)
        assert reply.whole and reply.json()["model"] == "other" and reply.json()["text"] == text, where


def test_models_list(one):
    up, _ = one
    lists = [up.get("/v1/models").json(), up.get("/models").json()]
    assert lists[0] == lists[1] and lists[0]["object"] == "list"
    assert [m["id"] for m in lists[0]["data"]] == ["deep", "nick", "tiny"]
    for m in lists[0]["data"]:
        assert m["object"] == "model" and "created" in m and "owned_by" in m
        assert up.get(f"/v1/models/{m['id']}").json() == m
    refused(up.get("/v1/models/none"), 404, "model_not_found")
    refused(up.get("/v1/models/%ff"), 400, "invalid_path")
    head = raw.exchange(up.address, "HEAD", "/v1/models")
    assert head.status == 200 and int(head["content-length"]) > 0 and not head.body


def test_models_asked_from_the_engine(bench):
    engine = bench.engine(models=("org/a b", "ünï", "tiny"))
    up = bench.up({"remote": [{"name": "e", "url": engine.url}]})
    until(lambda: len(up.get("/v1/models").json()["data"]) == 3, "the list was asked for")
    assert up.chat("ünï").status == 200 and up.chat("org/a b").status == 200
    assert up.get("/v1/models/org%2Fa%20b").json()["id"] == "org/a b"
    assert up.get("/v1/models/org/a%20b").json()["owned_by"] == "fake"
    engine.models = ("tiny", "new")
    until(lambda: up.chat("new").status == 200, "a new model is learnt", 8)
    until(lambda: up.chat("org/a b").status == 404, "the one that has gone is unknown to every lane")
    refused(up.chat("org/a b"), 404, "model_not_found")


def test_least_outstanding_then_weight(bench):
    engines = [bench.engine(), bench.engine()]
    up = bench.up({"remote": [remote(engines[0], "a", weight=3), remote(engines[1], "b")]}, lanes="1")
    for _ in range(40):
        assert up.chat().status == 200
    counts = [len(e.requests) for e in engines]
    assert sum(counts) == 40 and 26 <= counts[0] <= 34, counts  # a slot may be given back just behind the reply


# ---- own endpoints ----


def test_health_ready_services_stats(one):
    up, _ = one
    health = up.get("/health").json()
    assert health == {"healthy_services": "1/1", "message": None, "registry_url": None, "router": "running",
                      "status": "healthy", "timestamp": health["timestamp"]}
    assert up.get("/ready").body == b'{"status":"ready"}'
    for path in ("/metrics", "/services", "/stats", "/units", "/status"):
        refused(up.get(path), 404, "not_found")
    for path in ("/health", "/ready", "/v1/models", "/models"):
        reply = up.post(path, {})
        refused(reply, 405, "method_not_allowed")
        assert reply["allow"] == "GET, HEAD"
    reply = up.get("/v1/chat/completions")
    refused(reply, 405, "method_not_allowed")
    assert reply["allow"] == "POST"


def test_not_ready(bench):
    up = bench.up({"engine": [{"name": "slow", "command": ["sleep", "1000", "${PORT}"], "models": ["m"]}]})
    reply = up.get("/ready")
    refused(reply, 503, "no_healthy_service", "server_error")
    assert reply["retry-after"] == "5"
    assert up.get("/health").json()["status"] == "running"


@pytest.mark.parametrize("status, body", [(404, {}), (401, {}), (200, {"models": "m"}), (200, b"<html>")])
def test_an_engine_without_a_list_is_told_of(bench, status, body):
    """It answers, so it looks well, and yet nobody is ever sent there: an operator must learn why."""
    engine = bench.engine(lambda c: c.reply(body, status=status), gets=False)
    up = bench.up({"remote": [{"name": "mute", "url": engine.url}]})
    record = up.wait_log(msg="an engine does not tell its models, and `models` does not name them")
    assert (record["level"], record["engine"], record["status"]) == ("warn", "mute", status)
    refused(up.chat("m"), 404, "model_not_found")


# ---- refusals ----


@pytest.mark.parametrize("path", ["/api/delete", "/api/pull", "/sleep", "/slots", "/slots/3", "/props", "/wake_up", "/v1/load_lora_adapter"])
def test_management_paths(one, path):
    up, engine = one
    for method in ("GET", "POST", "DELETE"):
        refused(raw.exchange(up.address, method, path, body=b"{}"), 403, "path_not_allowed", "permission_error")
    assert not engine.requests


def test_passthrough(bench):
    def script(c):
        c.reply({"path": c.target, "method": c.method, "body": c.body.decode()})

    engine = bench.engine(script, gets=False)
    other = bench.engine()
    up = bench.up({"remote": [remote(engine, "a", passthrough=["/slots", "/odd/path"]), remote(other, "b")]})
    for method, path in (("GET", "/slots"), ("POST", "/slots?x=1"), ("PUT", "/odd/path"), ("DELETE", "/odd/path")):
        reply = raw.exchange(up.address, method, path, body=b"not json")
        assert reply.json() == {"path": path, "method": method, "body": "not json"}
    raw.exchange(up.address, "POST", "/slots")
    assert engine.requests[-1]["content-length"] is None and engine.requests[-1].body == b""
    refused(up.get("/slots/3"), 403, "path_not_allowed")
    refused(raw.exchange(up.address, "BREW", "/slots"), 405, "method_not_allowed")
    assert not other.requests


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/", "/v1/chat/completions/", "//v1/chat/completions", "/V1/chat/completions",
                                  "/v1/chat%2fcompletions", "/v1/%63hat/completions", "/v1/chat/../chat/completions"])
def test_unknown_paths(one, path):
    up, engine = one
    reply = up.post(path, {"model": "tiny"})
    assert (reply.status, reply.error()["code"]) in ((404, "not_found"), (400, "bad_request")), reply
    assert not engine.requests


def test_paths_that_are_no_text(one):
    up, engine = one
    for path in ("/%ff", "/v1/chat/completions%c3", "/v1/models/%ff", "/%ed%a0%80"):
        refused(raw.exchange(up.address, "GET", path), 400, "invalid_path")
    for path in ("/%c3%a9", "/%2e%2e/v1/models", "/v1/%2e/models", "/%68ealth", "/%00"):
        refused(raw.exchange(up.address, "GET", path), 404, "not_found")
    assert not engine.requests


@pytest.mark.smoke
@pytest.mark.parametrize("body, code", [
    (b"", "invalid_json"), (b"{", "invalid_json"), (b"not json", "invalid_json"), (b"[]", "invalid_json"),
    (b'"tiny"', "invalid_json"), (b'{"model":"tiny"} x', "invalid_json"), (b'{"model":"tiny","model":"tiny"}', "invalid_json"),
    (b'{"model":"tiny","mod\\u0065l":"x"}', "invalid_json"), (b'{"stream":true,"model":"tiny","stream":false}', "invalid_json"),
    (b'{"model":"tiny","Model":"x"}', "invalid_json"), (b'{"MODEL":"x","model":"tiny"}', "invalid_json"),
    (b'{"user":"a","model":"tiny","user":"b"}', "invalid_json"), (b'{"model":"t\xff"}', "invalid_json"),
    (b'{"prompt_cache_key":"a","model":"tiny","prompt_cache_key":"b"}', "invalid_json"),
    (b"{}", "invalid_model"), (b'{"model":null}', "invalid_model"), (b'{"model":7}', "invalid_model"),
    (b'{"model":["tiny"]}', "invalid_model"), (b'{"model":""}', "invalid_model"), (b'{"model":"%s"}' % (b"m" * 257), "invalid_model"),
    (b'{"a":{"model":"tiny"}}', "invalid_model"), (b"[" * 100000, "invalid_json"), (b'{"model":"tiny","n":1e1000000}', None)])
def test_bodies_that_are_none(one, body, code):
    up, engine = one
    reply = up.post("/v1/chat/completions", body=body)
    if code is None:  # a number beyond doubles is the engine's to judge: the text passes as it is
        assert reply.status in (200, 400)
        return
    error = refused(reply, 400, code, "invalid_request_error")
    assert error["param"] in (None, "model", "stream", "user", "prompt_cache_key")
    assert not engine.requests
    assert up.chat().status == 200


def test_content_codings(one):
    up, engine = one
    for coding in ("gzip", "br", "deflate, identity"):
        reply = up.post("/v1/chat/completions", {"model": "tiny"}, headers={"Content-Encoding": coding})
        refused(reply, 415, "unsupported_media_type")
    with up.open() as c:  # nor behind one that is none
        c.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 16\r\n"
               b'Content-Encoding: identity\r\nContent-Encoding: deflate\r\n\r\n{"model":"tiny"}')
        refused(c.reply(), 415, "unsupported_media_type")
    assert not engine.requests
    assert up.post("/v1/chat/completions", {"model": "tiny"}, headers={"Content-Encoding": "identity"}).status == 200
    # the content type does not matter
    assert up.post("/v1/chat/completions", body=b'{"model":"tiny"}', headers={"Content-Type": "text/plain"}).status == 200


def test_upgrade(one):
    up, engine = one
    reply = up.get("/v1/models", headers={"Connection": "Upgrade", "Upgrade": "websocket"})
    refused(reply, 501, "not_implemented")
    assert not engine.requests


@pytest.mark.smoke
def test_unknown_model(one):
    up, engine = one
    error = refused(up.chat("nope\x00<b>" + "y" * 200), 404, "model_not_found", "invalid_request_error")
    assert error["param"] == "model" and len(error["message"]) < 256
    assert not engine.requests


def test_a_dead_engine(bench):
    """The connection is refused, or never made."""
    up = bench.up({"remote": [remote(f"http://127.0.0.1:{net.free_port()}", probe_path="none"),
                              remote(f"unix:{bench.path('none.sock')}", "u", ["sock"], probe_path="none")]})
    for model in ("tiny", "sock"):
        reply = up.chat(model)
        refused(reply, 503, "upstream_refused", "server_error")
        assert reply["retry-after"] == "5"
    until(lambda: up.metric("inferd_faults_total") == 2, "both are counted")


def test_an_engine_of_another_kind(bench):
    engine = bench.engine()
    up = bench.up({"remote": [remote(engine, kind="vllm")]})
    refused(up.post("/api/chat", {"model": "tiny"}), 404, "not_found")
    assert up.post("/pooling", {"model": "tiny"}).status == 200


# ---- Host, Origin, CORS ----


@pytest.mark.smoke
@pytest.mark.parametrize("host, allowed", [
    ("127.0.0.1", True), ("127.0.0.1:1", True), ("localhost", True), ("LOCALHOST:80", True), ("chat.example", True),
    ("evil.example", False), ("127.0.0.2", False), ("localhost.evil.example", False), ("[::1]", False)])
def test_host(bench, host, allowed):
    engine = bench.engine()
    up = bench.up({"listen": [{"address": "127.0.0.1:0", "hosts": ["chat.example"]}], "remote": [remote(engine)]})
    reply = up.chat(headers={"Host": host})
    if allowed:
        assert reply.status == 200
    else:
        error = refused(reply, 403, "host_not_allowed", "permission_error")
        assert host not in error["message"] and not engine.requests


def test_host_is_missing(one):
    up, _ = one
    with up.open() as c:
        c.send(b"GET /health HTTP/1.1\r\n\r\n")
        assert c.reply().status == 400 and c.end() == "fin"
    with up.open() as c:
        c.send(b"GET /health HTTP/1.0\r\n\r\n")
        assert c.reply().status == 200


def test_unix_listeners_ask_no_host(bench):
    engine = bench.engine()
    up = bench.up({"listen": [{"address": f"unix:{bench.path('s.sock')}"}], "remote": [remote(engine)]})
    assert up.address == f"unix:{bench.path('s.sock')}"
    assert up.chat(headers={"Host": "evil.example", "Origin": "http://evil.example"}).status == 200
    with up.open() as c:
        c.send(b"GET /health HTTP/1.1\r\n\r\n")
        assert c.reply("GET").status == 200


def test_origin_and_cors(bench):
    engine = bench.engine()
    page = "https://chat.example"
    up = bench.up({"listen": [{"address": "127.0.0.1:0", "origins": [page]}], "remote": [remote(engine)]})
    port = up.address.rpartition(":")[2]
    for origin in (f"http://127.0.0.1:{port}", f"http://localhost:{port}"):
        reply = up.chat(headers={"Origin": origin})
        assert reply.status == 200 and reply["access-control-allow-origin"] is None
        assert engine.requests[-1]["origin"] is None
    before = len(engine.requests)
    for origin in ("http://evil.example", "null", f"http://127.0.0.1:{int(port) ^ 1}", f"https://localhost:{port}", ""):
        reply = up.chat(headers={"Origin": origin})
        refused(reply, 403, "origin_not_allowed", "permission_error")
        assert reply["access-control-allow-origin"] is None
    assert len(engine.requests) == before
    for reply in (up.chat(headers={"Origin": page}), up.chat("nope", headers={"Origin": page})):
        assert reply["access-control-allow-origin"] == page and "origin" in reply["vary"].lower()
    asked = {"Origin": page, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,x-me"}
    preflight = raw.exchange(up.address, "OPTIONS", "/v1/chat/completions", headers=asked)
    assert preflight.status == 204 and preflight["access-control-allow-origin"] == page
    assert "POST" in preflight["access-control-allow-methods"]
    assert preflight["access-control-allow-headers"] == "authorization,x-me"
    foreign = raw.exchange(up.address, "OPTIONS", "/v1/chat/completions", headers={**asked, "Origin": "http://evil.example"})
    refused(foreign, 403, "origin_not_allowed")
    refused(raw.exchange(up.address, "OPTIONS", "/v1/chat/completions"), 405, "method_not_allowed")


def test_ipv6(bench):
    engine = bench.engine(at=("::1", 0))
    up = bench.up({"listen": [{"address": "[::1]:0"}], "remote": [remote(engine)]})
    assert up.address.startswith("[::1]:") and up.chat().status == 200
    assert engine.requests[0]["host"] == engine.url[7:]
    refused(up.chat(headers={"Host": "127.0.0.1"}), 403, "host_not_allowed")


def test_names_are_resolved_and_every_address_tried(bench):
    engine = bench.engine()
    up = bench.up({"remote": [remote(f"http://localhost:{engine.port}")]})
    assert up.chat().status == 200
    assert engine.requests[0]["host"] == f"localhost:{engine.port}"


# ---- the log ----


def test_access_log(one):
    up, _ = one
    reply = up.post("/v1/chat/completions?secret=q", {"model": "nick", "messages": [{"role": "user", "content": "prompt"}]})
    record = up.wait_log(msg="request", id=reply["x-request-id"])
    assert record["method"] == "POST" and record["path"] == "/v1/chat/completions" and record["model"] == "nick"
    assert record["engine"] == "e" and record["status"] == 200 and record["attempts"] == 1
    assert record["tokens_in"] == 3 and record["tokens_out"] == 5
    assert record["first_byte_ms"] <= record["total_ms"] and record["bytes_in"] > 0 and record["bytes_out"] > 0
    assert "fault" not in record
    text = up.stdout().decode()
    assert "secret" not in text and "prompt\"" not in text.replace("prompt_", "")
    reply = up.chat("nope")
    record = up.wait_log(msg="request", id=reply["x-request-id"])
    assert record["status"] == 404 and record["fault"] == "model_not_found" and record["while"] == "ADMIT"
