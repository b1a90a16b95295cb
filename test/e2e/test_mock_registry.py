# SPDX-License-Identifier: Apache-2.0
"""`inferd mock --registry-url`: registered once it listens, kept registered, gone when it stops."""

import os
import signal
import subprocess

from harness import raw
from harness.fabric import BlackHole
from harness.net import free_port
from harness.tree import PROGRAM
from harness.wait import SLOW, Stopwatch, until


def mock(bench, registry, args=(), **kw):
    url = registry if isinstance(registry, str) else registry.url
    return bench.mock(args=["--registry-url", url, *args], **kw)


def port_of(m):
    return int(m.address.rpartition(":")[2])


def test_the_record(bench):
    r = bench.registry()
    m = mock(bench, r.url + "/", models=("a", "b"), name="m/1")
    until(lambda: r.names() == ["m/1"], "registered")
    record = r.get("/services/m%2F1")
    models_list = record["metadata"].pop("models_list")
    assert [(e["id"], e["object"]) for e in models_list] == [("a", "model"), ("b", "model")]
    assert all(isinstance(e["created"], int) for e in models_list)
    want = {"host": "127.0.0.1", "hostname": "localhost", "port": port_of(m), "url": f"http://{m.address}",
            "status": "running", "metadata": {"type": "openai-api", "models": ["a", "b"]}, "is_healthy": True}
    assert {k: record[k] for k in want} == want and "weight" not in record
    until(lambda: b"registered" in m.stdout(), "it says so")
    m.signal(signal.SIGTERM)
    assert m.wait_exit() == 0
    assert r.names() == []


def test_a_registry_that_comes_back_knows_it_again(bench):
    """Nobody listens at the start: one WARN, and the mock serves. Then every heartbeat is a chance."""
    port = free_port()
    m = mock(bench, f"http://127.0.0.1:{port}")
    until(lambda: b"WARN" in m.stdout(), "it says that it could not register")
    assert raw.chat(m.address).status == 200
    r = bench.registry(port=port)
    until(lambda: r.names() == ["mock"], "registered by its heartbeat", 11 * SLOW)
    r.kill()
    again = bench.registry(port=port)
    until(lambda: again.names() == ["mock"], "registered again", 11 * SLOW)


def test_the_end_does_not_wait_for_a_registry_that_hangs(bench):
    hole = BlackHole()
    m = mock(bench, f"http://127.0.0.1:{hole.port}")
    watch = Stopwatch()
    m.signal(signal.SIGINT)
    assert m.wait_exit() == 0
    assert watch.seconds() < 2 * SLOW
    hole.close()


def test_token(bench):
    path = bench.path("token")
    with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="utf-8") as f:
        f.write("secret\n")
    r = bench.registry(args=["--registry-token-file", path])
    mock(bench, r, ["--registry-token-file", path], name="knows")
    m = mock(bench, r, name="does-not")
    until(lambda: r.names() == ["knows"], "the one that has it is registered")
    until(lambda: b"401" in m.stdout(), "the other says why it is not")
    assert b"secret" not in m.stdout()


def test_usage():
    for flags in (["--port", "0", "--registry-url", "https://x"], ["--port", "0", "--registry-url", "nonsense"],
                  ["--socket", "/x", "--registry-url", "http://127.0.0.1:1"]):
        done = subprocess.run([PROGRAM, "mock", "--name", "a", "--models", "m", *flags], capture_output=True, timeout=30,
                              check=False)
        assert done.returncode == 2 and b"--registry-url" in done.stderr, done
