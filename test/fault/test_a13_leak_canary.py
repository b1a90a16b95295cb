# SPDX-License-Identifier: Apache-2.0
"""A13: prompts, completions, headers and keys are nowhere but on their way. Each carries a mark that occurs
once in the world; then everything that can go wrong with a request does, and what the service leaves behind is
searched: logs at their most talkative, metrics, every answer of the control side and of `ctl`, the runtime and
state folders, the environment and command line of every process, before and after a gateway crashed."""

import base64
import json
import os
import signal
import subprocess

import pytest

from harness import raw
from harness.fake import answer_chat
from harness.gateway import mock_unit, remote
from harness.tree import PROGRAM, alive, children, command_line, sanitizer_env
from harness.wait import SLOW, until

PROMPT, COMPLETION, FIELD, QUERY = "canaryprompt7f3a", "canarycompletion91c2", "canaryfield4d5e", "canaryquery0b8d"
WRONG = "canarywrongkeycanarywrongkeycanarywrongkey1"
REMOTE_KEY = "canaryremotekeyd00d"
SESSION = "canarysession5a5a"
TOLD = "canarymodel6e6e"


def encodings(mark):
    """The mark as it is, and as it would look in what encodes it; base64 has three alignments."""
    found = [mark.encode(), mark.encode().hex().encode()]
    for shift in range(3):
        text = base64.b64encode(b"\0" * shift + mark.encode())
        found.append(text[4:-4])
    return found


class Canary:
    def __init__(self, marks):
        self.needles = [(m, e) for m in marks for e in encodings(m)]
        self.searched = 0
        self.hits = []

    def search(self, where, data):
        data = data.encode() if isinstance(data, str) else data
        self.searched += len(data)
        for mark, needle in self.needles:
            at = data.find(needle)
            if at >= 0:
                self.hits.append(f"{where}: {mark} in {data[max(0, at - 60):at + 60]!r}")

    def folder(self, path):
        for base, _, files in os.walk(path):
            for name in files:
                full = os.path.join(base, name)
                self.search("names", full)
                if os.path.isfile(full):
                    with open(full, "rb") as f:
                        self.search(full, f.read())


def misbehave(c):
    """What the model's name says, with the completion's mark in it wherever an engine could put it."""
    kind = c.json()["model"]
    if kind == "good":
        answer_chat(c, COMPLETION)
    elif kind == "stream":
        c.stream_head()
        c.token(COMPLETION)
        c.done()
    elif kind == "cut":
        c.stream_head()
        c.token(COMPLETION)
        c.rst()
    elif kind == "short":
        c.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 900\r\n\r\n{\"x\":\"" + COMPLETION.encode())
        c.fin()
    elif kind == "badhead":
        c.send(b"HTTP/1.1 200 OK\r\n" + COMPLETION.encode() + b" \x00: y\r\n\r\n")
        c.fin()
    elif kind == "badchunk":
        c.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + COMPLETION.encode() + b"\r\n")
        c.fin()
    elif kind == "hugehead":
        c.send(b"HTTP/1.1 200 OK\r\n" + (b"x: " + COMPLETION.encode() * 200 + b"\r\n") * 20 + b"\r\n")
        c.fin()
    elif kind == "error":
        c.reply({"error": {"message": COMPLETION + c.json()["messages"][0]["content"]}}, 500)
    elif kind == "limited":
        c.reply({"error": {"message": COMPLETION}}, 429, fields=[("x-debug", COMPLETION)])
    elif kind == "close":
        c.fin()
    else:  # silent
        c.wait_gone(30 * SLOW)


KINDS = ("good", "stream", "cut", "short", "badhead", "badchunk", "hugehead", "error", "limited", "close", "silent")


def body_of(model, **more):
    return {"model": model, "messages": [{"role": "user", "content": PROMPT}], "user": SESSION, "prompt_cache_key": SESSION, **more}


def fields(key):
    return [("Authorization", f"Bearer {key}"), ("X-Custom", FIELD), ("Cookie", f"session={FIELD}"), ("User-Agent", FIELD),
            ("X-Session-Id", SESSION), ("Referer", f"http://localhost/{FIELD}")]


def send_raw(up, data, wait=True):
    with up.open() as c:
        c.send(data)
        if wait:
            try:
                c.reply(data[:data.find(b" ")].decode())
            except (AssertionError, OSError):
                pass  # cut, as it may be


def head(method="POST", target="/v1/chat/completions", lines=()):
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: localhost", *lines, "", ""]).encode()


def every_fault(up, key, poor):
    """Each request that can fail, failing."""
    for kind in KINDS:
        for stream in (False, True):
            with up.open() as c:
                c.request("POST", f"/v1/chat/completions?q={QUERY}", json_body=body_of(kind, stream=stream), headers=fields(key))
                try:
                    c.reply()
                except (AssertionError, OSError):
                    pass
    for model in ("alias", TOLD):
        up.post("/v1/chat/completions", json_body=body_of(model), headers=fields(key))
    # bodies that are refused
    for body in (f'{{"model":"good","x":"{PROMPT}', f'{PROMPT}', f'{{"model":["{PROMPT}"]}}', f'{{"model":"good","model":"{PROMPT}"}}',
                 f'{{"model":"good","{PROMPT}\x01":1}}', "[" * 100 + PROMPT, f'{{"messages":"{PROMPT}"}}', f'{{"model":"{PROMPT * 30}"}}',
                 json.dumps(body_of("good", x="y" * 70000))):
        up.post("/v1/chat/completions", body=body.encode(), headers=fields(key))
    up.post("/v1/chat/completions", json_body=body_of("good"), headers=fields(key) + [("Content-Encoding", "gzip")])
    # keys that are refused
    for headers in ([("Authorization", f"Bearer inf_{key.split('_')[1]}_{WRONG}")], [("Authorization", f"Basic {WRONG}")], [("x-api-key", WRONG)],
                    [("Authorization", WRONG)]):
        up.post("/v1/chat/completions", json_body=body_of("good"), headers=headers)
    for _ in range(3):
        up.post("/v1/chat/completions", json_body=body_of("good"), headers=fields(poor))
    up.post("/v1/chat/completions", json_body=body_of("elsewhere"), headers=fields(poor))
    # heads that are refused
    auth = f"Authorization: Bearer {key}"
    for data in (head(target=f"/v1/chat/completions?q={QUERY}" + "x" * 9000), head(lines=[auth, "X-Big: " + FIELD * 3000]),
                 head(lines=[auth, f"X Bad: {FIELD}"]), head(lines=[auth, f"X-Bad: {FIELD}\x00"]), head(lines=[auth, f"Upgrade: {FIELD}", "Connection: upgrade"]),
                 head(lines=[auth, f"Expect: {FIELD}"]), head(lines=[auth, f"Transfer-Encoding: {FIELD}"]), head(lines=[auth, f"Content-Length: {FIELD}"]),
                 head("GET", f"/v1/models?q={QUERY}", [auth]), head("DELETE", f"/v1/models?q={QUERY}", [auth]), head("GET", f"/v1/models/{'%ff'}?{QUERY}", [auth]),
                 head(lines=[auth, f"Origin: http://{FIELD}.example"]), f"GET / HTTP/9.9\r\n{FIELD}\r\n\r\n".encode(), FIELD.encode() * 100 + b"\r\n\r\n",
                 head(lines=[auth, "Transfer-Encoding: chunked"]) + PROMPT.encode() + b"\r\n", head("OPTIONS", lines=[f"Access-Control-Request-Headers: {FIELD}"])):
        send_raw(up, data)
    send_raw(up, head().replace(b"localhost", FIELD.encode()))
    # clients that go, and that are too slow
    begun = head(lines=[auth, "Content-Length: 5000"]) + b'{"model":"good","x":"' + PROMPT.encode()
    send_raw(up, begun, wait=False)
    send_raw(up, begun)
    with up.open_chat("silent") as c:
        c.reset()
    with up.open() as c:
        c.request("POST", "/v1/chat/completions", json_body=body_of("silent", stream=True), headers=fields(key))
        until(lambda: up.metric("inferd_requests_in_flight") >= 1, "it is under way")
        c.reset()
    # the control side
    for target in (f"/units/{PROMPT}/stop?x={QUERY}", f"/{QUERY}"):
        raw.post(up.control, target, json_body={"x": PROMPT}, headers=[("Authorization", f"Bearer {key}"), ("X-Custom", FIELD)])
        raw.get(up.control, target)


def processes(pid):
    found = [pid]
    for p in children(pid):
        found += processes(p)
    return found


def search_all(canary, up):
    for pid in processes(up.pid):
        for name in ("environ", "cmdline", "comm"):
            with open(f"/proc/{pid}/{name}", "rb") as f:
                canary.search(f"/proc/{pid}/{name}", f.read())
    for target in ("/metrics", "/status", "/units", "/engines", "/routes", "/usage", "/paths", "/services", "/stats", "/health", "/units/m/logs"):
        reply = raw.get(up.control, target)
        assert reply.status == 200, reply
        canary.search(target, reply.body)
    for words in (["status"], ["engines"], ["models"], ["usage"], ["key", "list", "--config", up.config_path], ["logs", "m"]):
        done = up.ctl(*words)
        canary.search(f"ctl {words}", done.stdout + done.stderr)
    for folder in (up.runtime_dir, up.state_dir):
        canary.folder(folder)


def crash(up):
    """The gateway ends as by a bug, with requests under way; another takes over."""
    pid = up.gateway_pid()
    with up.open_chat("silent"):
        os.kill(pid, signal.SIGABRT)
        until(lambda: not alive(pid) and [p for p in children(up.pid) if command_line(p)[1:2] == ["gateway"]], "another gateway")
    until(lambda: raw.get(up.address, "/health").status == 200, "it serves")


@pytest.mark.smoke
def test_nothing_is_left(bench):
    keys, conf = str(bench.path("keys.toml")), str(bench.path("remote.key"))

    def new(*flags):
        done = subprocess.run([PROGRAM, "ctl", "--runtime-dir", str(bench.path("none")), "--file", keys, "key", "new", *flags],
                              capture_output=True, text=True, timeout=30 * SLOW, check=True, env=dict(os.environ, **sanitizer_env(bench.folder)))
        return done.stdout.strip(), done.stderr

    (key, said), (poor, said_too) = new("--name", "a"), new("--name", "b", "--requests-per-minute", "1", "--models", "good")
    with open(conf, "w", encoding="utf-8") as f:
        f.write(REMOTE_KEY)
    os.chmod(conf, 0o600)
    secrets = [k.split("_", 2)[2] for k in (key, poor)]
    canary = Canary([PROMPT, COMPLETION, FIELD, QUERY, WRONG, REMOTE_KEY, SESSION, *secrets])
    canary.search("ctl key new", said + said_too)
    engine = bench.engine(script=misbehave, models=KINDS)
    config = {"keys": {"file": keys}, "engine": [mock_unit("m", models=("tiny",))], "model": {"alias": {"target": "good"}},
              "remote": [remote(engine, "fake", KINDS, api_key_file=conf)],
              "limits": {"first_byte_ms": 700, "idle_ms": 700, "body_bytes": 65536, "head_ms": 700, "body_grace_ms": 300}}
    up = bench.up(config, args=["--log-level", "trace"])
    up.wait_unit("m", "ready")
    every_fault(up, key, poor)
    assert [c for c in engine.requests if ("authorization", f"Bearer {REMOTE_KEY}") in [(n.lower(), v) for n, v in c.fields]]
    search_all(canary, up)
    # files that are wrong are told of by place and bound, not by what stands in them
    for path, text in ((conf, f"{REMOTE_KEY} {REMOTE_KEY}"), (keys, f'[[key]]\nid = "{secrets[0]}"\n'), (keys, f"[[key]]\n{secrets[0]}\n")):
        with open(path, encoding="utf-8") as f:
            good = f.read()
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        done = up.ctl("reload", check=False)
        assert done.returncode == 1
        canary.search(f"a reload with a bad {path}", done.stdout + done.stderr)
        with open(path, "w", encoding="utf-8") as f:
            f.write(good)
    up.ctl("reload")
    crash(up)
    every_fault(up, key, poor)
    search_all(canary, up)
    assert not up.stop()
    canary.folder(up.folder)
    canary.search("stdout", up.stdout())
    canary.search("stderr", up.stderr())
    told = Canary([TOLD])  # the search finds what is there: a model's name is told
    told.search("stdout", up.stdout())
    assert told.hits and canary.searched > 100000, canary.searched
    assert not canary.hits, "\n".join(canary.hits[:20])
