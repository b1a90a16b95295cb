# SPDX-License-Identifier: Apache-2.0
"""What the babysitter's engine gets from it and what it does with what comes back: arguments, environment, signals,
descriptors, output; and the command line: what is refused, what is warned of, how it listens."""

import os
import re
import signal
import socket
import subprocess

import pytest

from harness.fabric import free_pair
from harness.tree import PROGRAM, alive, children, command_line, state_of
from harness.wait import SLOW, Stopwatch, until


def run(*args, env=None, name=None):
    """`inferd babysitter` as a command that ends by itself."""
    command = [name] if name else [PROGRAM, "babysitter"]
    return subprocess.run([*command, *[str(a) for a in args]], capture_output=True, text=True, timeout=30 * SLOW, check=False,
                          env={**os.environ, **(env or {})})


def write(path, text, mode=0o755):
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    os.chmod(path, mode)
    return path


def toml(bench, text, port=None):
    """A file with that [backend], on a free port."""
    return write(bench.path("c.toml"), f"name = \"svc\"\nport = {port or free_pair()}\n{text}")


def messages(sitter, stream):
    """What the log has of the engine's output: (level, line)."""
    pattern = re.compile(r"^\S+ +(\w+) inferd::supervise: \[svc " + stream + r"\] (.*)$", re.M)
    return pattern.findall(sitter.log())


def fields(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


# ---- what it gets ----


def test_arguments_arrive_as_they_are(bench):
    words = ["a b", "", "--x=\"y\" ${PORT}", "é", "-"]
    quoted = ", ".join("'" + w + "'" for w in words)
    out = bench.path("argv")
    tell = write(bench.path("tell"), f"#!/bin/sh\nfor w in \"$@\"; do echo \"<$w>\"; done > {out}.new\nmv {out}.new {out}\nexec sleep 600\n")
    path = toml(bench, f"[backend]\ntype = 'command'\ncommand = '{tell}'\nargs = [{quoted}]\n")
    sitter = bench.sitter(args=["--config-file", path], engine_port=1)
    until(lambda: os.path.exists(out), "it told")
    with open(out, encoding="utf-8") as f:
        assert f.read().splitlines() == [f"<{w}>" for w in words]
    sitter.wait_log(f"{tell} 'a b' '' ")


@pytest.mark.parametrize("args, program, words", [
    (["--service-type", "vLLM", "--path", "/m", "--args", "--tp 2"], "python3",
     "-m vllm.entrypoints.openai.api_server --model /m --port PORT --host localhost --tp 2"),
    (["--service-type", "InfiniLM-Rust", "--path", "c.toml"], "xtask", "service c.toml -p PORT"),
    (["--service-type", "InfiniLM", "--path", "/m", "--dev", "nvidia", "--ndev", "2", "--max-batch", "8", "--args", "-v"], "python3",
     "launch_server.py --port PORT --host localhost --model-path /m --dev nvidia --ndev 2 --max-batch 8 -v"),
], ids=["vllm", "rust", "infinilm"])
def test_typed_engines_are_looked_up_in_their_own_path(bench, args, program, words):
    folder, port, out = bench.path("bin"), free_pair(), bench.path("argv")
    os.makedirs(folder)
    write(f"{folder}/{program}", f"#!/bin/sh\necho \"$*\" > {out}.new\n/bin/mv {out}.new {out}\nexec /bin/sleep 600\n")
    sitter = bench.sitter(args=["--port", port, *args, "--env", f"PATH={folder}"], engine_port=port)
    until(lambda: os.path.exists(out), "it told")
    with open(out, encoding="utf-8") as f:
        assert f.read().strip() == words.replace("PORT", str(port))
    assert sitter.get("/info")["service_type"] == args[1] and sitter.get("/info")["name"] == f"{args[1].lower()}-{port}"


def test_a_mock_is_our_own_program(bench):
    port = free_pair()
    sitter = bench.sitter(args=["--port", port, "--service-type", "mock", "--args", "m1,m2"], engine_port=port).wait_state("ready")
    assert command_line(sitter.child())[1:] == ["mock", "--name", f"mock-{port}", "--port", str(port), "--models", "m1,m2"]


def test_environment_and_secrets(bench):
    out = bench.path("env")
    tell = write(bench.path("tell"), f"#!/bin/sh\nenv > {out}.new\nmv {out}.new {out}\nexec sleep 600\n", 0o777)
    path = toml(bench, f"[backend]\ntype = 'command'\ncommand = '{tell} --api-key hunter2 --hf-token=hunter2 --model m'\n"
                       "env = { HF_TOKEN = 'hunter2', OWN = 'a b', HOME = '/h' }\n")
    token = write(bench.path("token"), "hunter2hunter2\n", 0o600)
    env = {"PLAIN": "kept", "INFERD_LOG": "debug", "INFERD_REGISTRY_TOKEN_FILE": token, "http_proxy": "http://127.0.0.1:1"}
    sitter = bench.sitter(args=["--config-file", path], engine_port=1, env=env)
    until(lambda: os.path.exists(out), "it told")
    with open(out, encoding="utf-8") as f:
        got = dict(line.split("=", 1) for line in f.read().splitlines())
    assert got["PLAIN"] == "kept" and got["OWN"] == "a b" and got["HF_TOKEN"] == "hunter2" and got["HOME"] == "/h"
    assert [k for k in got if k.startswith("INFERD_")] == ["INFERD_UNIT"]
    sitter.wait_log("unit started")
    assert "hunter2" not in sitter.log() and "a b" not in sitter.log()
    assert "--api-key *** --hf-token=*** --model m" in sitter.log() and "env=HF_TOKEN,HOME,OWN" in sitter.log()


def test_a_clean_start_in_life(bench):
    """Own session and group, default signals, nothing open but three descriptors, stdin from /dev/null."""
    work = bench.path("work")
    os.makedirs(work)
    sitter = bench.sitter(models=["m1"], config={"backend": {"type": "command", "command": "sleep 600", "work_dir": work}})
    pid = until(sitter.child, "started")
    until(lambda: command_line(pid)[0] == "sleep", "it runs")
    status = fields(pid)
    assert int(status["SigIgn"], 16) == 0 and int(status["SigBlk"], 16) == 0
    assert os.getsid(pid) == pid == os.getpgid(pid) and os.readlink(f"/proc/{pid}/cwd") == work
    assert sorted(os.listdir(f"/proc/{pid}/fd")) == ["0", "1", "2"] and os.readlink(f"/proc/{pid}/fd/0") == "/dev/null"


def test_what_cannot_be_started_is_a_crash(bench):
    sitter = bench.sitter(config={"backend": {"type": "command", "command": "/no/such/program"}, "babysitter": {"max_restarts": 1, "restart_delay": 0}})
    sitter.wait_state("failed")
    assert "/no/such/program" in sitter.get("/info")["last_exit"] and sitter.get("/info")["restart_count"] == 1


# ---- its output ----


def test_output_is_whole_and_never_stops(bench):
    data = bench.path("data")
    with open(data, "wb") as f:
        f.write(b"first\n\xff\x00\x1b[31mred\r\n" + b"x" * 10000 + b"\n" + b"y" * 4000 + b"\n" + b"".join(b"line %d\n" % i for i in range(2000)) + b"unterminated")
    path = toml(bench, f"[babysitter]\nmax_restarts = 0\n[backend]\ntype = 'command'\ncommand = '/bin/sh -c'\n"
                       f"args = [\"cat '{data}'; echo problem >&2; exit 3\"]\n")
    sitter = bench.sitter(args=["--config-file", path], engine_port=1).wait_state("failed")
    until(lambda: ("INFO", "unterminated") in messages(sitter, "stdout"), "the last line, which nobody ended")
    lines = [text for level, text in messages(sitter, "stdout") if level == "INFO"]
    assert lines[0] == "first" and "red" in lines[1] and "\x1b" not in lines[1]
    long = [text for text in lines if text and set(text) == {"x"}]
    assert len(long) > 1 and sum(map(len, long)) == 10000 and max(map(len, sitter.log().splitlines())) < 4096
    assert "y" * 4000 in lines, "that much is one line"
    assert [text for text in lines if text.startswith("line ")] == [f"line {i}" for i in range(2000)]
    until(lambda: messages(sitter, "stderr") == [("WARN", "problem")], "what it said to stderr")


def test_a_grandchild_that_holds_the_pipes_delays_nothing(bench):
    script = "sleep 600 & echo here; exit 4"
    sitter = bench.sitter(config={"backend": {"type": "command", "command": "/bin/sh -c", "args": [script]}, "babysitter": {"restart_delay": 60}})
    watch = Stopwatch()
    sitter.wait_state("restarting", 2)
    assert watch.seconds() < 2 * SLOW and sitter.get("/info")["last_exit"] == "exit status 4"


def test_a_reader_that_stalls_stops_nobody(bench):
    """Nobody reads the babysitter's stdout: its pipe is full, the engine writes on, and both live."""
    read, full = os.pipe()
    port = free_pair()
    args = [PROGRAM, "babysitter", "--port", str(port), "--command", "/bin/sh -c yes"]
    with subprocess.Popen(args, stdout=full, stderr=subprocess.DEVNULL, start_new_session=True) as p:
        os.close(full)
        pid = until(lambda: children(p.pid), "the engine runs")[0]
        until(lambda: "yes" in command_line(pid)[0] or children(pid), "it writes")
        p.send_signal(signal.SIGTERM)
        assert p.wait(15 * SLOW) == 0 and not alive(pid)
    os.close(read)


# ---- the command line ----


def test_what_is_refused(bench):
    assert run("--port", 0, "--command", "x").returncode == 2
    for args in (["--port", 65535, "--command", "x"], ["--prot", 1], ["--port", 1, "--port", 2], ["--port", 1, "--command", "x", "--env", "K"],
                 ["--heartbeat-interval", 0], ["stray"]):
        done = run(*args)
        assert done.returncode == 2 and done.stderr and not done.stdout, done
    for args in (["--command", "x"], ["--port", 1], ["--port", 1, "--service-type", "vllm"], ["--config-file", "/no/such"]):
        done = run(*args)
        assert done.returncode == 1 and done.stderr.startswith("Error: ") and not done.stdout, done
    path = toml(bench, "[backend]\ntype = 'command'\ncomand = 'x'\ncommand = 'x'\n")
    done = run("--config-file", path)
    assert done.returncode == 1 and done.stderr == f"Error: {path}:5:1: backend.comand: unknown key (did you mean `command`?)\n"
    assert run("--help").returncode == 0 == run("--version").returncode


def test_lenient_configuration(bench):
    path = toml(bench, "[backend]\ntype = 'command'\ncommand = 'sleep 600'\nmodel = 'm'\n")
    assert run("--config-file", path).returncode == 1
    for how in ({"args": ["--lenient-config"]}, {"env": {"INFERD_LENIENT_CONFIG": "1"}}, {"env": {"INFERD_LENIENT_CONFIG": "1"}, "alias": True}):
        path = toml(bench, "[backend]\ntype = 'command'\ncommand = 'sleep 600'\nmodel = 'm'\n")
        sitter = bench.sitter(engine_port=1, **{**how, "args": ["--config-file", path, *how.get("args", [])]})
        sitter.wait_log("backend.model: unknown key for type")
        assert len(re.findall(r" WARN .*unknown key", sitter.log())) == 1


def test_flags_without_effect_are_told_once(bench):
    path = toml(bench, "[backend]\ntype = 'command'\ncommand = 'sleep 600'\n")
    sitter = bench.sitter(args=["--config-file", path, "--args", "--x", "--dev", "y", "--router-url", "http://r"], engine_port=1)
    sitter.wait_log("unit started")
    assert re.findall(r" WARN inferd::babysitter: (.*)", sitter.log()) == ["--args, --dev: no effect beside a configuration file"]


def test_words_after_args_and_env_may_look_like_flags(bench):
    port = free_pair()
    sitter = bench.sitter(args=["--port", port, "--command", "sleep", "--args", "--help --port", "--env", "--odd=x"], engine_port=port)
    sitter.wait_log("unit started")
    assert 'command="sleep --help --port"' in sitter.log() and "env=--odd" in sitter.log()


def test_environment_fills_flags_but_not_under_the_old_name(bench):
    port = free_pair()
    sitter = bench.sitter(args=["--port", port, "--command", "sleep 600"], engine_port=port, env={"INFERD_NAME": "from-env", "INFERD_HOST": "127.0.0.1"})
    assert (sitter.get("/info")["name"], sitter.get("/info")["host"]) == ("from-env", "127.0.0.1")
    port = free_pair()
    sitter = bench.sitter(args=["--port", port, "--command", "sleep 600"], engine_port=port, env={"INFERD_NAME": "from-env"}, alias=True)
    assert sitter.get("/info")["name"] == f"command-{port}"


def test_how_it_listens(bench):
    port = free_pair()
    done = run("--port", port, "--command", "x", "--listen", "0.0.0.0")
    assert done.returncode == 1 and "--insecure" in done.stderr
    alias = bench.sitter(args=["--port", port, "--command", "sleep 600"], engine_port=port, alias=True)
    assert alias.wait_ready()["listen"] == [f"0.0.0.0:{port + 1}"]
    alias.wait_log("unit started")
    assert len(re.findall(r" WARN .*exposed", alias.log())) == 1
    own = bench.sitter(config={"babysitter": {"listen": "::1"}, "backend": {"type": "command", "command": "sleep 600"}})
    assert own.wait_ready()["listen"] == [f"[::1]:{own.engine_port + 1}"] and own.state() in ("starting", "restarting")


def test_a_host_that_others_cannot_ask_is_warned_of(bench):
    config = {"host": "10.0.0.1", "backend": {"type": "command", "command": "sleep 600"}, "babysitter": {"heartbeat_interval": 120}}
    sitter = bench.sitter(config=config, registry="http://127.0.0.1:1")
    sitter.wait_log("unit started")
    warnings = [w for w in re.findall(r" WARN inferd::babysitter: (.*)", sitter.log()) if "registry cannot" not in w]
    assert len(warnings) == 2 and "120 s or more" in warnings[0] and "--listen" in warnings[1]


def test_a_token_for_the_registry_alone(bench):
    token = write(bench.path("token"), "sesame\n", 0o600)
    registry = bench.registry(args=["--registry-token-file", token])
    sitter = bench.sitter(models=["m1"], name="svc", registry=registry, args=["--registry-token-file", token])
    until(lambda: registry.names() == ["svc", "svc-server"], "registered")
    other = bench.sitter(models=["m1"], name="other", registry=registry)
    other.wait_log("the registry cannot be had or refuses")
    assert "status=401" in other.log() and "sesame" not in sitter.log()
    sitter.signal(signal.SIGTERM)
    assert sitter.wait_exit() == 0
    until(lambda: registry.names() == [], "the registry knows of the end")


def test_proxies_of_the_environment_are_not_asked(bench):
    with socket.socket() as proxy:
        proxy.bind(("127.0.0.1", 0))
        proxy.listen(8)
        url = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        registry = bench.registry()
        bench.sitter(models=["m1"], name="svc", registry=registry, env={"http_proxy": url, "HTTP_PROXY": url, "ALL_PROXY": url})
        until(lambda: registry.names() == ["svc", "svc-server"], "registered")
        proxy.settimeout(0.1)
        with pytest.raises(TimeoutError):
            proxy.accept()


def test_the_page_has_every_metric(bench):
    bench.sitter(models=["m1"], registry=bench.registry()).check_page("babysitter.md")


def test_what_is_adopted_is_reaped(bench):
    """A grandchild that loses its parent becomes the babysitter's, and no zombie."""
    script = "(sleep 1 & echo adopted $!); exec sleep 600"
    sitter = bench.sitter(config={"backend": {"type": "command", "command": "/bin/sh -c", "args": [script]}})
    sitter.wait_log("stdout] adopted ")
    pid = int(sitter.log().partition("stdout] adopted ")[2].split()[0])
    until(lambda: state_of(pid) is None, "it is gone, not a zombie")
    assert children(sitter.pid) == [sitter.child()]
