# SPDX-License-Identifier: Apache-2.0
"""`inferd up` as a person meets it: no configuration, engines on the usual ports, the mock, and which file
counts."""

import os

import pytest

from harness import raw
from harness.wait import never, until

USUAL = {"ollama": 11434, "llama.cpp": 8080, "vllm": 8000}


def models(up):
    return [m["id"] for m in up.get("/v1/models").json()["data"]]


@pytest.mark.smoke
@pytest.mark.published
def test_the_first_curl(bench):
    """Nothing installed, nothing configured: the published address, the built-in mock."""
    up = bench.up(listen=False, env={"HOME": bench.path("home"), "XDG_CONFIG_HOME": bench.path("home")})
    assert up.ready["listen"] == ["127.0.0.1:8900"]
    assert raw.chat("127.0.0.1:8900", "inferd-mock").status == 200  # at once: it waits if it must
    assert models(up) == ["inferd-mock"]
    stream = up.chat("inferd-mock", stream=True)
    assert stream.whole and stream.events()[-1] == "[DONE]"
    assert len([r for r in up.log() if "inferd-mock" in r["msg"] and r["target"] == "master"]) == 1, "announced in one line"
    status = up.admin("/status")
    assert (status["engines"], status["engines_ready"]) == (1, 1), "where nobody was found is no engine"
    states = {e["name"]: e["state"] for e in up.admin("/engines")["engines"]}
    assert states == {"mock": "ready", **dict.fromkeys(USUAL, "not found")}


@pytest.mark.published
def test_engines_on_the_usual_ports_are_found(bench):
    engines = {name: bench.engine(at=("127.0.0.1", port), models=(f"{name}-model",)) for name, port in USUAL.items()}
    up = bench.up()
    until(lambda: models(up) == ["inferd-mock", "llama.cpp-model", "ollama-model", "vllm-model"], "all three are found")
    for name, port in USUAL.items():
        record = up.wait_log(msg="found an engine", engine=name)
        assert str(port) in record["url"] and record["models"] == 1
        until(lambda m=f"{name}-model": up.chat(m).status == 200, "each lane knows it")
        assert engines[name].requests


@pytest.mark.published
def test_what_stops_answering_is_dropped_and_found_again(bench):
    engine = bench.engine(at=("127.0.0.1", 8080), models=("m",))
    up = bench.up()
    until(lambda: "m" in models(up), "it is found")
    engine.close()
    until(lambda: "m" not in models(up), "it is dropped", 8)
    up.wait_log(msg="an engine stopped answering", engine="llama.cpp", level="warn")
    until(lambda: up.chat("m").status in (404, 503), "each lane knows it")
    again = bench.engine(at=("127.0.0.1", 8080), models=("m",))
    until(lambda: "m" in models(up), "it is found again", 8)
    until(lambda: up.chat("m").status == 200 and again.requests, "it serves again")


@pytest.mark.published
def test_what_is_no_engine_is_not_attached(bench):
    bench.engine(at=("127.0.0.1", 8080), models=("m",), server="inferd/0.1.0")  # another inferd
    bench.engine(lambda c: None, at=("127.0.0.1", 8000), gets=False)  # answers nothing
    html = bench.engine(lambda c: c.reply(b"<html>"), at=("127.0.0.1", 11434), gets=False)
    up = bench.up()
    until(lambda: html.requests, "it was asked")
    never(lambda: models(up) not in ([], ["inferd-mock"]), "something was attached", 0.5)
    assert not up.log(msg="found an engine")


@pytest.mark.published
def test_the_mock_is_never_a_fallback(bench):
    engine = bench.engine(at=("127.0.0.1", 8080), models=("m",))
    up = bench.up()
    until(lambda: "m" in models(up), "it is found")
    assert up.chat("other").status == 404
    engine.close()
    reply = up.chat("m")
    assert reply.status in (404, 502, 503), reply


@pytest.mark.smoke
def test_no_mock_with_a_file(bench):
    up = bench.up({"remote": [{"name": "e", "url": bench.engine().url, "models": ["tiny"]}]})
    assert models(up) == ["tiny"]
    assert up.chat("inferd-mock").status == 404
    assert up.admin("/units")["units"] == []


def test_which_file(bench):
    """--config, INFERD_CONFIG, ./inferd.toml, ~/.config/inferd/inferd.toml; the one used is logged."""
    def write(path, model):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as f:
            f.write(f'[[remote]]\nname = "e"\nurl = "http://127.0.0.1:1"\nmodels = ["{model}"]\n')
        return path

    home = bench.path("home")
    at_home = write(f"{home}/.config/inferd/inferd.toml", "home")
    env = {"HOME": home}
    named = write(bench.path("named.toml"), "named")
    by_env = write(bench.path("env.toml"), "env")
    empty, here = bench.path("empty"), bench.path("here")
    os.mkdir(empty)
    write(f"{here}/inferd.toml", "here")

    def used(expected, model, **kw):
        folder = bench.path("run-" + model)
        tree = bench.tree([*base(folder), *kw.pop("args", [])], model, env={**env, **kw.pop("env", {})}, **kw)
        tree.ready_path = f"{folder}/ready"
        listen = tree.wait_ready()["listen"][0]
        until(lambda: os.path.basename(expected).encode() in tree.stdout(), "the file is named")
        chat = raw.chat(listen, model)
        assert chat.status == 503, chat  # known, and nobody there
        assert not tree.stop()

    used(at_home, "home", cwd=empty)
    used(f"{here}/inferd.toml", "here", cwd=here)
    used(by_env, "env", cwd=here, env={"INFERD_CONFIG": by_env})
    used(named, "named", cwd=here, env={"INFERD_CONFIG": by_env}, args=["--config", named])


def test_a_reload_reads_the_file_that_was_found(bench):
    """An editor, or a tool that writes it anew, takes it away for a moment: the mock and 127.0.0.1:8900 were what
    such a moment made of a whole configuration, or the next file of the row."""
    def write(path, model):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as f:
            f.write(f'[[remote]]\nname = "e"\nurl = "http://127.0.0.1:1"\nmodels = ["{model}"]\n')

    def listed(listen):
        return [raw.chat(listen, model).error()["code"] != "model_not_found" for model in ("first", "other", "inferd-mock")]

    here, folder = bench.path("here"), bench.path("run")
    write(f"{here}/inferd.toml", "first")
    write(bench.path("home/.config/inferd/inferd.toml"), "other")
    tree = bench.tree(base(folder), "up", cwd=here, env={"HOME": bench.path("home")})
    tree.ready_path = f"{folder}/ready"
    ready = tree.wait_ready()
    listen, control = ready["listen"][0], ready["admin"][0]
    os.unlink(f"{here}/inferd.toml")
    reply = raw.post(control, "/reload", body=b"")
    assert reply.status == 400 and "inferd.toml: cannot be read" in reply.error()["message"], reply
    assert listed(listen) == [True, False, False]
    write(f"{here}/inferd.toml", "first")
    assert raw.post(control, "/reload", body=b"").status == 200
    assert listed(listen) == [True, False, False]


def base(folder):
    from harness.tree import PROGRAM
    os.makedirs(folder, exist_ok=True)
    return [PROGRAM, "up", "--runtime-dir", f"{folder}/run", "--state-dir", f"{folder}/state", "--ready-file", f"{folder}/ready",
            "--log-format", "json", "--listen", "127.0.0.1:0"]


@pytest.mark.parametrize("lanes", ["1", "2", "4"])
def test_lanes(bench, lanes):
    up = bench.up({"remote": [{"name": "e", "url": bench.engine().url, "models": ["tiny"]}]}, lanes=lanes)
    assert up.admin("/status")["lanes"] == int(lanes)
    held = [up.open() for _ in range(8)]
    for c in held:
        c.request("POST", "/v1/chat/completions", json_body={"model": "tiny"})
        assert c.reply().status == 200
    for c in held:
        c.close()
