# SPDX-License-Identifier: Apache-2.0
"""`inferd ctl` against a scripted control socket: what it sends, what it makes of every kind of answer,
and its exit status. What the real control side answers is in test_ctl.py."""

import json
import os
import re
import signal
import socket
import subprocess

import pytest

from harness.fake import Engine
from harness.tree import PROGRAM, sanitizer_env
from harness.wait import SLOW, until

STATUS = {"connections": 1, "draining": False, "engines": 3, "engines_ready": 2, "gateway_pid": 4711, "in_flight": 5,
          "lanes": 2, "listen": ["127.0.0.1:8900", "unix:/run/x"], "models": 4, "version": "0.1.0", "waiting": 6}


class Peer:
    """A runtime directory whose control socket follows a script."""

    def __init__(self, folder, script):
        self.folder = str(folder)
        self.engine = Engine(script, path=f"{folder}/ctl.sock", gets=False)

    def environment(self):
        return dict(os.environ, **sanitizer_env(self.folder))

    def command(self, *words):
        return [PROGRAM, "ctl", "--runtime-dir", self.folder, *words]

    def run(self, *words, **kw):
        return subprocess.run(self.command(*words), stdout=kw.pop("stdout", subprocess.PIPE), stderr=subprocess.PIPE,
                              timeout=60 * SLOW, check=False, env=self.environment(), **kw)

    def start(self, *words):
        return subprocess.Popen(self.command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                env=self.environment())

    def targets(self):
        return [f"{c.method} {c.target}" for c in self.engine.requests]


@pytest.fixture
def peer(tmp_path):
    made = []

    def make(script):
        made.append(Peer(tmp_path, script))
        return made[-1]

    yield make
    for p in made:
        p.engine.close()
        assert not p.engine.problems, p.engine.problems
    assert not [n for n in os.listdir(tmp_path) if n.startswith("report.")]


def document(value, status=200):
    return lambda c: c.reply(value, status)


def told(done, status, *words):
    """It ended with that status, with nothing on stdout and these words on stderr."""
    text = done.stderr.decode()
    assert done.returncode == status, (done.returncode, text)
    assert done.stdout == b"" and text.startswith("inferd ctl: "), (done.stdout, text)
    for w in words:
        assert w in text, text


# nobody there

@pytest.mark.smoke
def test_nobody_is_there(tmp_path, peer):
    p = peer(document({}))
    p.engine.close()
    told(p.run("status"), 1, "not running", f"{tmp_path}/ctl.sock", "inferd up", "--runtime-dir")
    s = socket.socket(socket.AF_UNIX)
    s.bind(f"{tmp_path}/ctl.sock")  # left behind by a process that died: nobody listens
    told(p.run("stop", "tiny"), 1, "not running", "refused")
    s.close()


def test_runtime_dir_is_found_as_up_finds_it(tmp_path, peer):
    p = peer(document(STATUS))
    plain = {k: v for k, v in p.environment().items() if k not in ("INFERD_CONFIG", "XDG_RUNTIME_DIR")}
    (tmp_path / "a.toml").write_text(f'runtime_dir = "{tmp_path}"\n')
    for words, env in (
        ([], {"INFERD_RUNTIME_DIR": str(tmp_path)}),
        ([], {"INFERD_CONFIG": f"{tmp_path}/a.toml"}),
        (["--config", f"{tmp_path}/a.toml"], {}),
    ):
        done = subprocess.run([PROGRAM, "ctl", *words, "status"], capture_output=True, timeout=60 * SLOW, check=False,
                              env={**plain, **env}, cwd=tmp_path)
        assert done.returncode == 0 and done.stdout.startswith(b"inferd 0.1.0: ready\n"), done
    # a file that is wrong by now does not keep it from asking; one that was named does
    (tmp_path / "inferd.toml").write_text("nonsense = 1\n")
    done = subprocess.run([PROGRAM, "ctl", "status"], capture_output=True, timeout=60 * SLOW, check=False,
                          env={**plain, "INFERD_RUNTIME_DIR": str(tmp_path)}, cwd=tmp_path)
    assert done.returncode == 0, done
    done = subprocess.run([PROGRAM, "ctl", "--config", "inferd.toml", "status"], capture_output=True,
                          timeout=60 * SLOW, check=False, env=plain, cwd=tmp_path)
    assert done.returncode == 1 and b"nonsense" in done.stderr and done.stdout == b"", done


# what is read

def test_status(peer):
    done = peer(document(STATUS)).run("status")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode() == (
        "inferd 0.1.0: ready\n"
        "listens   127.0.0.1:8900\n"
        "          unix:/run/x\n"
        "gateway   pid 4711, 2 lanes, 1 connection\n"
        "engines   2 of 3 ready\n"
        "models    4\n"
        "requests  5 in flight, 6 waiting\n")


@pytest.mark.parametrize("change, word", [({"draining": True}, "draining"), ({"engines_ready": 0}, "no engine is ready")])
def test_status_verdict(peer, change, word):
    assert peer(document({**STATUS, **change})).run("status").stdout.startswith(f"inferd 0.1.0: {word}\n".encode())


ENGINE = {"errors": 0, "in_flight": 0, "kind": None, "last_exit": None, "models": [], "name": "x", "next_start_ms": None,
          "origin": "remote", "pid": None, "ready": True, "requests": 0, "restarts": None, "slots": 0, "state": "ready",
          "state_ms": None, "url": None, "waiting": 0, "weight": 1}


def test_engines(peer):
    engines = [
        {**ENGINE, "name": "gpu1", "kind": "vllm", "in_flight": 3, "slots": 16, "requests": 1234, "url": "http://h:8000",
         "models": ["a", "b", "c", "d", "e", "f"]},
        {**ENGINE, "name": "tïny", "origin": "unit", "state": "backoff", "next_start_ms": 4000, "restarts": 12,
         "state_ms": 10, "last_exit": "killed by SIGSEGV", "ready": False, "models": ["tiny"]},
        {**ENGINE, "name": "z", "origin": "unit", "pid": 77, "restarts": 0, "state_ms": 7200000, "next_start_ms": 0},
    ]
    p = peer(document({"engines": engines}))
    done = p.run("engines")
    assert (done.returncode, done.stderr) == (0, b"")
    lines = done.stdout.decode().splitlines()
    assert [re.split(r" {2,}", line.strip()) for line in lines] == [
        ["NAME", "STATE", "KIND", "PID", "RESTARTS", "BUSY", "WAITING", "REQUESTS", "MODELS", "URL", "LAST EXIT"],
        ["gpu1", "ready", "vllm", "-", "-", "3/16", "0", "1234", "a, b, c, d and 2 more", "http://h:8000", "-"],
        ["tïny", "backoff, starts in 4s", "-", "-", "12", "0", "0", "0", "tiny", "-", "killed by SIGSEGV"],
        ["z", "ready 2h", "-", "77", "0", "0", "0", "0", "-", "-", "-"],
    ]
    assert lines[0].index("URL") == lines[1].index("http") and lines[0].index("LAST") == lines[2].index("killed")
    assert p.targets() == ["GET /engines"]


def test_empty_columns_are_left_out(peer):
    done = peer(document({"engines": [{**ENGINE, "models": ["m"]}]})).run("engines")
    assert done.stdout.decode() == ("NAME  STATE  BUSY  WAITING  REQUESTS  MODELS\n"
                                    "x     ready     0        0         0  m\n")


def test_no_engines(peer):
    done = peer(document({"engines": []})).run("engines")
    assert done.returncode == 0 and done.stdout.startswith(b"NAME  STATE") and done.stdout.count(b"\n") == 1


def test_models(peer):
    routes = [
        {"alias_of": "big", "engines": [{"name": "e1", "ready": True}, {"name": "e2", "ready": False}], "name": "a"},
        {"alias_of": None, "engines": [{"name": "e1", "ready": True}, {"name": "e2", "ready": False}], "name": "big"},
        {"alias_of": "nothing", "engines": [], "name": "lost"},
        {"alias_of": None, "engines": [], "fallbacks": ["a", "big"], "name": "split",
         "targets": [{"model": "a", "weight": 9}, {"model": "big", "weight": 1}]},
        {"alias_of": "big", "engines": [], "fallbacks": ["a"], "name": "tiny", "targets": [{"model": "big", "weight": 1}]},
        {"alias_of": None, "engines": [], "fallbacks": ["a"], "name": "zeta", "targets": []},
    ]
    p = peer(document({"models": routes}))
    assert p.run("models").stdout.decode() == ("MODEL  READY  ENGINES  ALIAS OF\n"
                                               "a        1/2  e1, e2   big\n"
                                               "big      1/2  e1, e2   -\n"
                                               "lost     0/0  -        nothing\n"
                                               "split    0/0  -        a 9, big 1 else a, big\n"
                                               "tiny     0/0  -        big else a\n"
                                               "zeta     0/0  -        else a\n")
    assert p.targets() == ["GET /routes"]


def test_json_is_what_was_said(peer):
    body = json.dumps(STATUS).encode()
    done = peer(document(body)).run("--json", "status")
    assert done.returncode == 0 and done.stdout == body + b"\n" and done.stderr == b""


def test_outside_text_cannot_steer_the_terminal(peer):
    evil = "\x1b[2J\x9b1m\x07\n\u202e"
    p = peer(document({"engines": [{**ENGINE, "name": evil, "models": [evil]}]}))
    done = p.run("engines")
    assert done.returncode == 0
    text = done.stdout.decode()
    assert text.count("\n") == 2 and "\\x1b[2J" in text and "\\xc2\\x9b1m\\x07\\x0a" in text, text
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", text)


# orders

def test_orders_name_their_unit_escaped(peer):
    p = peer(document({"message": "on its way"}))
    done = p.run("restart", "a/b c", "%41", "--", "-x", "ü?#")
    assert done.returncode == 0, done
    assert done.stdout.decode() == "".join(f"{n}: on its way\n" for n in ("a/b c", "%41", "-x", "ü?#"))
    assert p.targets() == [f"POST /units/{n}/restart" for n in ("a%2Fb%20c", "%2541", "-x", "%C3%BC%3F%23")]
    assert all(c["content-length"] == "0" and c["host"] == "localhost" for c in p.engine.requests)
    assert p.engine.connections == 1, "one connection carries them all"


@pytest.mark.parametrize("verb", ["start", "stop", "drain", "restart"])
def test_one_refusal_does_not_stop_the_others(peer, verb):
    def script(c):
        if "/bad/" in c.target:
            c.reply({"error": {"code": "conflict", "message": "not \x1bnow", "param": None, "type": "x"}}, 409)
        else:
            c.reply({"message": "yes"})

    done = peer(script).run(verb, "bad", "good")
    assert done.returncode == 1 and done.stdout == b"good: yes\n"
    assert done.stderr == b"inferd ctl: bad: not \\x1bnow (409)\n"


def test_reload(peer):
    p = peer(document({"message": "generation 3"}))
    assert p.run("reload").stdout == b"reload: generation 3\n"
    assert p.run("--json", "reload").stdout == b'{"message": "generation 3"}\n'
    assert p.targets() == ["POST /reload"] * 2


# answers that are none

def raw_answer(data, end):
    def script(c):
        c.send(data)
        getattr(c, end)()

    return script


@pytest.mark.parametrize("end", ["fin", "rst"])
@pytest.mark.parametrize("data", [
    b"", b"HTTP/1.1 200 OK\r\ncontent-le",
    b'HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\n{"message":',
    b'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nf\r\n{"message":"x"}\r\n',
], ids=["nothing", "head", "length", "chunked"])
def test_a_broken_answer_is_no_answer(peer, data, end):
    told(peer(raw_answer(data, end)).run("stop", "tiny"), 1, "ended before the answer did", "ctl status")


def test_a_close_delimited_answer_is_no_answer(peer):
    told(peer(raw_answer(b'HTTP/1.1 200 OK\r\n\r\n{"message":"x"}', "fin")).run("stop", "tiny"), 1, "ended before")


@pytest.mark.parametrize("body", [b"not JSON", b"[]", b"{}", b'{"engines":{}}'])
@pytest.mark.parametrize("verb", ["status", "engines", "models"])
def test_another_document(peer, body, verb):
    told(peer(document(body)).run(verb), 1, "not understood", "version")


def test_a_refusal_without_a_sentence(peer):
    told(peer(document(b"<html>", 503)).run("engines"), 1, "engines: refused (503)")


# logs

def test_logs_are_passed_on_byte_for_byte(peer):
    data = bytes(range(256)) * 300 + b"no newline at the end"

    def script(c):
        c.send(c.head_of(200, [("Transfer-Encoding", "chunked")]))
        for i in range(0, len(data), 7000):
            c.chunk(data[i:i + 7000])
        c.send(b"0\r\n\r\n")

    p = peer(script)
    done = p.run("logs", "a/b")
    assert (done.returncode, done.stderr) == (0, b"") and done.stdout == data
    assert p.targets() == ["GET /units/a%2Fb/logs"]


def test_a_log_that_breaks_off_says_so(peer):
    def script(c):
        c.send(c.head_of(200, [("Transfer-Encoding", "chunked")]))
        c.chunk(b"one\n")
        c.fin()

    done = peer(script).run("logs", "tiny", "-f")
    assert done.returncode == 1 and done.stdout == b"one\n" and b"ended before" in done.stderr


def test_follow_shows_lines_as_they_come_and_ends_by_a_signal(peer):
    def script(c):
        c.send(c.head_of(200, [("Transfer-Encoding", "chunked")]))
        c.chunk(b"one\n")
        c.wait_gone(60)

    p = peer(script)
    ctl = p.start("logs", "tiny", "-f")
    assert ctl.stdout.readline() == b"one\n"
    assert p.targets() == ["GET /units/tiny/logs?follow=1"]
    ctl.send_signal(signal.SIGINT)
    assert ctl.wait(20 * SLOW) == -signal.SIGINT
    assert p.engine.left.acquire(timeout=20 * SLOW)
    ctl.stdout.close()
    ctl.stderr.close()


def test_follow_ends_with_the_unit(peer):
    def script(c):
        c.send(c.head_of(200, [("Transfer-Encoding", "chunked")]))
        c.chunk(b"last words\n")
        c.send(b"0\r\n\r\n")

    done = peer(script).run("logs", "--follow", "tiny")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"last words\n", b"")


def test_a_reader_that_left_ends_it_quietly(peer):
    def script(c):
        c.send(c.head_of(200, [("Transfer-Encoding", "chunked")]))
        while True:
            c.chunk(b"x" * 4000)

    ctl = peer(script).start("logs", "tiny", "-f")
    assert ctl.stdout.read(10) == b"x" * 10
    ctl.stdout.close()
    assert ctl.wait(20 * SLOW) == 0 and ctl.stderr.read() == b""
    ctl.stderr.close()


@pytest.mark.parametrize("words", [["status"], ["--json", "status"], ["logs", "tiny"]])
def test_a_full_disk_is_a_failure(peer, words):
    with open("/dev/full", "wb") as full:
        done = peer(document(STATUS)).run(*words, stdout=full)
    assert done.returncode == 1 and b"cannot write: no space left" in done.stderr, done


# the command line

@pytest.mark.parametrize("words, text", [
    ([], "COMMAND"),
    (["statu"], "did you mean status"),
    (["frobnicate"], "no such command"),
    (["stop"], "needs the name"),
    (["logs"], "needs the name"),
    (["logs", "a", "b"], "takes one name"),
    (["status", "x"], "takes no name"),
    (["reload", "x"], "takes no name"),
    (["status", "-f"], "--follow"),
    (["--json", "logs", "x"], "no JSON"),
    (["--nonsense", "status"], "nonsense"),
    (["--runtime-dir", "x" * 97, "status"], "runtime-dir"),
])
def test_a_wrong_command_line_asks_nobody(peer, words, text):
    p = peer(document(STATUS))
    done = p.run(*words) if "--runtime-dir" not in words else subprocess.run(
        [PROGRAM, "ctl", *words], capture_output=True, timeout=60 * SLOW, check=False, env=p.environment())
    told(done, 2, text, "usage: inferd ctl")
    assert p.engine.connections == 0


def test_help(peer):
    done = peer(document({})).run("--help")
    assert done.returncode == 0 and done.stderr == b""
    for verb in ("status", "engines", "models", "start", "stop", "drain", "restart", "reload", "logs"):
        assert f"`{verb}".encode() in done.stdout, verb
