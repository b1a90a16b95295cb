# SPDX-License-Identifier: Apache-2.0
"""API keys: every endpoint against every kind of key, what the SDK makes of a refusal, keys that come and go
under a running gateway, limits, `ctl key` and `ctl usage`, what the file must look like, and whom a proxy
stands for."""

import json
import os
import stat
import subprocess
import threading

import pytest

from harness.gateway import remote
from harness.tree import PROGRAM, sanitizer_env
from harness.wait import SLOW, Stopwatch, until

WRONG_SECRET = "A" * 43


class Ring:
    """A file of keys, edited by the program itself."""

    def __init__(self, bench):
        self.path, self.folder = str(bench.path("keys.toml")), bench.folder
        self.runtime_dir = str(bench.path("nobody"))

    def run(self, *words, check=True):
        done = subprocess.run([PROGRAM, "ctl", "--runtime-dir", self.runtime_dir, "--file", self.path, "key", *words],
                              capture_output=True, text=True, timeout=30 * SLOW, check=False,
                              env=dict(os.environ, **sanitizer_env(self.folder)))
        assert not check or done.returncode == 0, done.stderr
        return done

    def new(self, name, *flags):
        return self.run("new", "--name", name, *flags).stdout.strip()

    def ids(self):
        return [k["id"] for k in json.loads(self.run("list", "--json").stdout)["keys"]]


@pytest.fixture
def ring(bench):
    return Ring(bench)


def bearer(key):
    return [("Authorization", f"Bearer {key}")]


def id_of(key):
    return key.split("_")[1]


def config(ring, engine, **more):
    return {"keys": {"file": ring.path, "failures_per_s": 100000}, "remote": [remote(engine, models=["tiny", "other"])], **more}


def up_with(bench, ring, engine, **more):
    up = bench.up(config(ring, engine, **more))
    ring.runtime_dir = up.runtime_dir
    return up


def refused(reply, status, code):
    assert reply.status == status, reply
    assert reply.error()["code"] == code, reply
    return reply


# ---- the table ----

CHAT = {"model": "tiny", "messages": [], "max_tokens": 5}
MISUSES = {
    "no key": [],
    "another scheme": [("Authorization", "Basic aW5mX2FiY2Q6eA==")],
    "an empty token": [("Authorization", "Bearer ")],
    "not a key": [("Authorization", "Bearer sk-proj-0123456789")],
    "an unknown id": [("Authorization", f"Bearer inf_zzzzzzzzzzzz_{WRONG_SECRET}")],
    "x-api-key of nobody": [("x-api-key", f"inf_zzzzzzzzzzzz_{WRONG_SECRET}")],
}


def ask(up, row, headers, model="tiny"):
    """The path as its clients would ask it."""
    path = row["path"] + ("tiny" if row["path"].endswith("/") else "")
    if row["class"] in ("own", "open"):
        return up.get(path, headers=headers)
    return up.post(path, json_body=dict(CHAT, model=model), headers=headers)


def test_every_endpoint_with_every_kind_of_key(bench, ring):
    engine = bench.engine(models=("tiny", "other"))
    keys = {
        "good": ring.new("good"),
        "no model": ring.new("no model", "--models", "other"),
        "requests": ring.new("requests", "--requests-per-minute", "1"),
        "tokens": ring.new("tokens", "--tokens-per-minute", "10"),
        "concurrency": ring.new("concurrency", "--concurrency", "1"),
    }
    up = up_with(bench, ring, engine)
    misuses = dict(MISUSES, **{"a wrong secret": bearer(f"inf_{id_of(keys['good'])}_{WRONG_SECRET}"),
                               "another's secret": bearer(keys["good"].replace(id_of(keys["good"]), id_of(keys["tokens"]))),
                               "one letter short": bearer(keys["good"][:-1])})
    paths = up.admin("/paths")["paths"]
    assert {r["class"] for r in paths} == {"own", "open", "inference", "manage"} and len(paths) > 80
    paths.append({"path": "/no/such/path", "class": "unknown"})

    assert up.get("/v1/models", headers=bearer(keys["requests"])).status == 200  # that was its minute's one
    busy = threading.Event()
    holder = bench.engine(script=lambda c: busy.wait(60 * SLOW) and c.reply({"usage": {}}), models=("held",))
    up.write_config(config(ring, engine, remote=[remote(engine, models=["tiny", "other"]), remote(holder, "holder", ["held"])]))
    up.ctl("reload")
    with up.open() as held:
        held.request("POST", "/v1/chat/completions", json_body=dict(CHAT, model="held"), headers=bearer(keys["concurrency"]))
        until(lambda: holder.requests, "it is under way")
        for row in paths:
            told = f"{row}"
            if row["class"] == "open":
                for name, headers in misuses.items():
                    assert ask(up, row, headers).status == 200, (told, name)
                continue
            bodies = set()
            for name, headers in misuses.items():
                reply = refused(ask(up, row, headers), 401, "invalid_api_key")
                assert reply["www-authenticate"] == "Bearer", (told, name)
                bodies.add(bytes(reply.body))
            assert len(bodies) == 1, told
            limited = refused(ask(up, row, bearer(keys["requests"])), 429, "rate_limit_exceeded")
            assert 1 <= int(limited["retry-after"]) <= 60, told
            refused(ask(up, row, bearer(keys["concurrency"])), 429, "rate_limit_exceeded")
            good, foreign = ask(up, row, bearer(keys["good"])), ask(up, row, bearer(keys["no model"]))
            if row["class"] == "inference":
                assert good.status == 200 or good.error()["code"] == "not_found", (told, good)  # nobody speaks it
                refused(foreign, 403, "model_not_allowed")
                refused(ask(up, row, bearer(keys["no model"]), model="nonesuch"), 403, "model_not_allowed")
            elif row["class"] == "own":
                assert good.status == 200, told
                if row["path"].endswith("/"):
                    refused(foreign, 404, "model_not_found")
                else:
                    assert [m["id"] for m in good.json()["data"]] == ["held", "other", "tiny"], told
                    assert [m["id"] for m in foreign.json()["data"]] == ["other"], told
            else:
                refused(good, *((403, "path_not_allowed") if row["class"] == "manage" else (404, "not_found")))
        busy.set()
        assert held.reply().status == 200
    inference = next(r for r in paths if r["class"] == "inference")
    assert ask(up, inference, bearer(keys["tokens"])).status == 200
    refused(ask(up, inference, bearer(keys["tokens"])), 429, "rate_limit_exceeded")
    until(lambda: ask(up, inference, bearer(keys["concurrency"])).status == 200, "its one place is free again")
    assert engine.requests and not [f for c in engine.requests for f in c.fields if "inf_" in f[1]]  # no engine sees a key


def test_an_engines_own_path_needs_every_model(bench, ring):
    """What it does there may be about any model, so a key for all that there are today is not enough."""
    engine = bench.engine(lambda c: c.reply({"path": c.target}), models=("tiny", "other"), gets=False)
    every, named = ring.new("every"), ring.new("named", "--models", "tiny,other")
    prefix = ring.new("prefix", "--models", "tiny,o*")
    up = up_with(bench, ring, engine, remote=[remote(engine, models=["tiny", "other"], passthrough=["/slots"])])
    for method in ("GET", "POST", "DELETE"):
        with up.open() as c:
            c.request(method, "/slots", body=b"x")
            refused(c.reply(method), 401, "invalid_api_key")
        for key in (named, prefix):
            with up.open() as c:
                c.request(method, "/slots", body=b"x", headers=bearer(key))
                refused(c.reply(method), 403, "path_not_allowed")
        with up.open() as c:
            c.request(method, "/slots", body=b"x", headers=bearer(every))
            assert c.reply(method).json() == {"path": "/slots"}


def test_a_refusal_reaches_who_is_still_sending(bench, ring):
    """A prompt with pictures in it: what its client reads, once it has sent all of it, is the answer and no reset."""
    engine = bench.engine()
    poor = ring.new("poor", "--requests-per-minute", "1")
    up = up_with(bench, ring, engine, limits={"body_bytes": 9 << 20})
    assert up.get("/v1/models", headers=bearer(poor)).status == 200
    for headers, size, status in (([], 8, 401), (bearer(poor), 8, 429), (bearer(ring.new("good")), 10, 413)):
        with up.open() as c:
            c.send(c.format("POST", "/v1/chat/completions", body=b" " * (size << 20), headers=headers))
            assert c.reply().status == status
            assert c.end() == "fin"
    assert not engine.requests


# ---- what clients make of it ----


@pytest.mark.sdk
def test_error_classes_of_the_sdk(bench, ring):
    openai = pytest.importorskip("openai", reason="the OpenAI SDK is not installed")
    engine = bench.engine(models=("tiny", "other"))
    key, poor = ring.new("a", "--models", "tiny"), ring.new("b", "--requests-per-minute", "1")
    up = up_with(bench, ring, engine)

    def client(key):
        return openai.OpenAI(base_url=f"{up.url}/v1", api_key=key, max_retries=0, timeout=20 * SLOW)

    messages = [{"role": "user", "content": "Hi"}]
    assert client(key).chat.completions.create(model="tiny", messages=messages).model == "tiny"
    assert [m.id for m in client(key).models.list().data] == ["tiny"]
    with pytest.raises(openai.AuthenticationError) as e:
        client("sk-anything").chat.completions.create(model="tiny", messages=messages)
    assert e.value.code == "invalid_api_key"
    with pytest.raises(openai.PermissionDeniedError) as e:
        client(key).chat.completions.create(model="other", messages=messages)
    assert e.value.code == "model_not_allowed" and e.value.param == "model"
    client(poor).models.list()
    with pytest.raises(openai.RateLimitError) as e:
        client(poor).chat.completions.create(model="tiny", messages=messages)
    assert e.value.code == "rate_limit_exceeded"
    assert e.value.response.headers["x-ratelimit-limit-requests"] == "1"
    assert e.value.response.headers["x-ratelimit-remaining-requests"] == "0"


# ---- keys that come and go ----


@pytest.mark.smoke
def test_a_key_is_revoked_under_its_connection(bench, ring):
    engine = bench.engine()
    first = ring.new("first")
    up = up_with(bench, ring, engine)
    second = ring.new("second")  # the running one is told, and has done it when the command returns
    with up.open() as c, up.open() as d:
        for connection, key in ((c, first), (d, second)):
            connection.request("POST", "/v1/chat/completions", json_body={"model": "tiny"}, headers=bearer(key))
            assert connection.reply().status == 200
        done = ring.run("revoke", id_of(second))
        assert "1 of 2 keys revoked" in done.stderr
        d.request("POST", "/v1/chat/completions", json_body={"model": "tiny"}, headers=bearer(second))
        refused(d.reply(), 401, "invalid_api_key")
        c.request("POST", "/v1/chat/completions", json_body={"model": "tiny"}, headers=bearer(first))
        assert c.reply().status == 200
    refused(up.post("/v1/chat/completions", json_body={"model": "tiny"}, headers=bearer(second)), 401, "invalid_api_key")


@pytest.mark.smoke
def test_a_new_key_works_at_once(bench, ring):
    engine = bench.engine()
    ring.new("first")
    up = up_with(bench, ring, engine)
    for i in range(20):
        assert up.get("/v1/models", headers=bearer(ring.new(f"n{i}"))).status == 200, i
    for key in ring.ids()[1:]:
        ring.run("revoke", key)
    assert len(ring.ids()) == 1


def test_a_bad_file_keeps_the_old_keys(bench, ring):
    engine = bench.engine()
    key = ring.new("first")
    up = up_with(bench, ring, engine)
    good = open(ring.path, encoding="utf-8").read()
    for text, says in ((good.replace(id_of(key), "x"), "id: is too short"), (good + good[good.index("[[key]]"):], "is the id of a key above, too")):
        with open(ring.path, "w", encoding="utf-8") as f:
            f.write(text)
        done = up.ctl("reload", check=False)
        assert done.returncode == 1 and "keys.toml:" in done.stderr and says in done.stderr, done.stderr
        assert up.get("/v1/models", headers=bearer(key)).status == 200
    os.chmod(ring.path, 0o644)
    done = up.ctl("reload", check=False)
    assert done.returncode == 1 and "can be read or changed by others" in done.stderr
    os.unlink(ring.path)
    assert up.ctl("reload", check=False).returncode == 1
    assert up.get("/v1/models", headers=bearer(key)).status == 200
    refused(up.get("/v1/models"), 401, "invalid_api_key")


def test_keys_are_switched_on_and_off(bench, ring):
    engine = bench.engine()
    key = ring.new("first")
    up = bench.up({"remote": [remote(engine)]})
    with up.open() as c:
        c.request("GET", "/v1/models")
        assert c.reply("GET").status == 200
        up.write_config({"keys": {"file": ring.path}, "remote": [remote(engine)]})
        up.ctl("reload")
        c.request("GET", "/v1/models")
        refused(c.reply("GET"), 401, "invalid_api_key")
        c.request("GET", "/v1/models", headers=bearer(key))
        assert c.reply("GET").status == 200
        up.write_config({"remote": [remote(engine)]})
        up.ctl("reload")
        c.request("GET", "/v1/models")
        assert c.reply("GET").status == 200


# ---- limits ----


def test_concurrency_over_connections_and_streams(bench, ring):
    go = threading.Event()

    def script(c):
        c.stream_head()
        c.token("x")
        go.wait(60 * SLOW)
        c.done()

    engine = bench.engine(script=script)
    key = ring.new("two", "--concurrency", "2")
    up = up_with(bench, ring, engine)
    body = {"model": "tiny", "stream": True}
    with up.open() as a, up.open() as b, up.open() as c:
        for x in (a, b):
            x.request("POST", "/v1/chat/completions", json_body=body, headers=bearer(key))
            assert x.head().status == 200
        c.request("POST", "/v1/chat/completions", json_body=body, headers=bearer(key))
        refused(c.reply(), 429, "rate_limit_exceeded")
        a.reset()  # a client that goes gives its place back
        until(lambda: up.metric("inferd_requests_in_flight") == 1, "the place of the one that has gone")
        with up.open() as d:
            d.request("POST", "/v1/chat/completions", json_body=body, headers=bearer(key))
            assert d.head().status == 200
            go.set()


def test_tokens_are_settled_by_what_the_engine_says(bench, ring):
    engine = bench.engine(script=lambda c: c.reply({"model": "tiny", "usage": {"prompt_tokens": 40, "completion_tokens": 50}}))
    key = ring.new("a", "--tokens-per-minute", "1000")
    up = up_with(bench, ring, engine)

    def chat(**more):
        return up.post("/v1/chat/completions", json_body={"model": "tiny", **more}, headers=bearer(key))

    def remaining(reply):
        return int(reply["x-ratelimit-remaining-tokens"])

    def at_least(tokens):
        left = remaining(up.get("/v1/models", headers=bearer(key)))
        return left if left >= tokens else None

    watch = Stopwatch()

    def refilled():
        """What the passing of time has given back, at most."""
        return watch.seconds() * 1000 / 60 + 1

    for used in (90, 180, 270):  # each came to 90, whatever it had asked for
        reply = chat(max_tokens=500)
        assert reply.status == 200 and remaining(reply) < 1000 - 500 + refilled(), reply
        left = until(lambda: at_least(1000 - used), "it is settled")
        assert left <= 1000 - used + refilled(), left
    refused(chat(max_tokens=900), 429, "rate_limit_exceeded")
    assert up.metrics()['inferd_key_refused_total{reason="tokens"}'] == 1


def test_usage_by_key_and_model(bench, ring):
    engine = bench.engine(models=("tiny", "other"), script=lambda c: c.reply({"usage": {"prompt_tokens": 3, "completion_tokens": 4}}))
    alice, bob = ring.new("Alice"), ring.new("Bob", "--models", "tiny")
    up = up_with(bench, ring, engine)
    for key, model, times in ((alice, "tiny", 2), (alice, "other", 1), (bob, "tiny", 1), (bob, "other", 1)):
        for _ in range(times):
            up.post("/v1/chat/completions", json_body={"model": model}, headers=bearer(key))
    up.get("/v1/models", headers=bearer(bob))

    def rows():
        return {(r["name"], r["model"]): r for r in up.ctl_json("usage")["usage"]}

    until(lambda: len(rows()) == 5 and sum(r["requests"] for r in rows().values()) == 6, "all of it is counted")
    of = rows()
    assert of["Alice", "tiny"]["requests"] == 2 and of["Alice", "tiny"]["prompt_tokens"] == 6
    assert of["Alice", "tiny"]["completion_tokens"] == 8 and of["Alice", "tiny"]["key"] == id_of(alice)
    assert of["Bob", "tiny"]["requests"] == 1
    assert of["Bob", None]["requests"] == 1
    refused_one = next(r for (name, _), r in of.items() if name == "Bob" and r["failed"])
    assert refused_one["failed"] == 1 and refused_one["prompt_tokens"] == 0
    m = up.metrics()
    assert m[f'inferd_key_requests_total{{key="{id_of(alice)}",model="tiny"}}'] == 2
    assert m[f'inferd_key_completion_tokens_total{{key="{id_of(alice)}",model="tiny"}}'] == 8
    assert "Alice" in up.ctl("usage").stdout and id_of(bob) in up.ctl("usage").stdout
    up.wait_log(msg="request", key=id_of(alice), status=200, client="127.0.0.1")


def test_failures_of_one_address(bench, ring):
    engine = bench.engine()
    key = ring.new("a")
    up = bench.up({"keys": {"file": ring.path}, "remote": [remote(engine)]})
    statuses = [up.get("/v1/models").status for _ in range(60)]
    assert set(statuses) == {401, 429} and statuses[:10] == [401] * 10

    def refused_for_its_address():
        with up.open() as c:
            c.request("GET", "/v1/models")
            reply = c.reply("GET")
            if reply.status == 401:  # a tenth of a second is over: one more was let in
                return False
            refused(reply, 429, "rate_limit_exceeded")
            assert reply["retry-after"] == "1" and c.end() == "fin"
            return True

    until(refused_for_its_address, "told with a close")
    assert up.get("/v1/models", headers=bearer(key)).status == 200  # its neighbours' guesses are not its fault
    until(lambda: up.get("/v1/models").status == 401, "a second has passed")


def test_whom_a_proxy_stands_for(bench, ring):
    engine = bench.engine()
    ring.new("a")
    up = bench.up({"keys": {"file": ring.path}, "trusted_proxies": ["127.0.0.0/8"], "remote": [remote(engine)]})

    def ask(forwarded):
        return up.get("/v1/models", headers=[("X-Forwarded-For", forwarded)]).status

    # Each tenth of a second lets one more in, hence several at a time.
    until(lambda: 429 in [ask("203.0.113.7") for _ in range(20)], "it has failed too often")
    others = (f"198.51.{i // 250}.{i % 250}, 203.0.113.7" for i in range(60000))
    until(lambda: 429 in [ask(next(others)) for _ in range(3)], "what stands to the left is anybody's invention")
    assert ask("203.0.113.8") == 401
    up.wait_log(msg="request", client="203.0.113.8")
    assert {r["client"] for r in up.log(msg="request")} == {"203.0.113.7", "203.0.113.8"}
    up.write_config({"keys": {"file": ring.path}, "remote": [remote(engine)]})
    up.ctl("reload")
    ask("203.0.113.9")
    up.wait_log(msg="request", client="127.0.0.1")
    assert not up.log(msg="request", client="203.0.113.9")


# ---- ctl key ----


def test_the_file(bench, ring):
    key = ring.new("Alice \"the first\"", "--models", "tiny,llama-*", "--concurrency", "2", "--requests-per-minute", "60",
                   "--tokens-per-minute", "100000")
    assert key.startswith("inf_") and len(key) == 4 + 12 + 1 + 43
    assert stat.S_IMODE(os.stat(ring.path).st_mode) == 0o600
    text = open(ring.path, encoding="utf-8").read()
    assert key.split("_", 2)[2] not in text and id_of(key) in text
    row = json.loads(ring.run("list", "--json").stdout)["keys"][0]
    assert row == {"concurrency": 2, "id": id_of(key), "models": ["tiny", "llama-*"], "name": "Alice \"the first\"",
                   "requests_per_minute": 60, "tokens_per_minute": 100000}
    assert "llama-*" in ring.run("list").stdout
    other = ring.new("Bob")
    assert ring.ids() == [id_of(key), id_of(other)]
    made = json.loads(ring.run("new", "--name", "x", "--json").stdout)
    assert made["key"].startswith(f"inf_{made['id']}_")
    done = ring.run("revoke", "nobody1", id_of(other), check=False)
    assert done.returncode == 1 and "there is no such key" in done.stderr
    assert ring.ids() == [id_of(key), made["id"]]
    assert [f for f in os.listdir(bench.folder) if f.startswith("keys")] == ["keys.toml"]


def test_many_edit_the_file_at_once(bench, ring):
    with_threads = [threading.Thread(target=ring.new, args=(f"n{i}",)) for i in range(12)]
    for t in with_threads:
        t.start()
    for t in with_threads:
        t.join()
    assert len(set(ring.ids())) == 12


@pytest.mark.parametrize("words, says", [
    (["new"], "needs --name"), ([], "new, list or revoke?"), (["make"], "there are `key new`"), (["revoke"], "needs the id"),
    (["list", "x"], "takes no more words"), (["list", "--name", "x"], "only `key new` knows"),
    (["new", "--name", "x", "--concurrency", "0"], "concurrency")])
def test_command_lines_that_are_wrong(bench, ring, words, says):
    done = ring.run(*words, check=False)
    assert done.returncode == 2 and says in done.stderr, done.stderr
    assert not os.path.exists(ring.path)


def test_files_that_are_wrong(bench, ring):
    with open(ring.path, "w", encoding="utf-8") as f:
        f.write("[[key]]\nid = 3\n")
    done = ring.run("new", "--name", "x", check=False)
    assert done.returncode == 1 and f"{ring.path}:2:" in done.stderr
    assert open(ring.path, encoding="utf-8").read() == "[[key]]\nid = 3\n"
    assert os.listdir(bench.folder).count("keys.toml.new") == 0
    ring.path = str(bench.path("no/such/folder/keys.toml"))
    assert ring.run("new", "--name", "x", check=False).returncode == 1
    done = ring.run("list", check=False)
    assert (done.returncode, done.stdout) == (1, "") and "there is no such file" in done.stderr


@pytest.mark.parametrize("command", ["up", "check"])
def test_no_start_without_keys(bench, ring, command):
    def run(*args):
        return subprocess.run([PROGRAM, command, *(["--runtime-dir", str(bench.path("r"))] if command == "up" else []),
                               "--listen", "0.0.0.0:0", *args], capture_output=True, text=True, timeout=30 * SLOW, check=False,
                              env=dict(os.environ, **sanitizer_env(bench.folder)), cwd=bench.folder)

    done = run()
    assert done.returncode == 1 and "keys.file names some" in done.stderr, done.stderr
    done = run("--keys-file", ring.path)
    assert done.returncode == 1 and "cannot be read" in done.stderr
    ring.new("a")
    os.chmod(ring.path, 0o640)
    done = run("--keys-file", ring.path)
    assert done.returncode == 1 and "chmod 600" in done.stderr
    os.chmod(ring.path, 0o600)
    if command == "check":
        assert run("--keys-file", ring.path).returncode == 0
