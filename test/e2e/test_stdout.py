# SPDX-License-Identifier: Apache-2.0
"""The log goes to a pipe whose reader stalls or leaves: records are dropped and counted, nothing else notices."""

import fcntl
import json
import os
import signal
import threading

import pytest

from harness.gateway import Gateway, mock_unit
from harness.wait import until


class IntoAPipe(Gateway):
    """stdout is a pipe, and the test its only reader."""

    def __init__(self, folder, *args, **kw):
        os.makedirs(folder, exist_ok=True)
        self.fifo = f"{folder}/fifo"
        os.mkfifo(self.fifo)
        self.reader = os.open(self.fifo, os.O_RDONLY | os.O_NONBLOCK)
        fcntl.fcntl(self.reader, fcntl.F_SETPIPE_SZ, 4096)
        super().__init__(folder, *args, **kw)

    def wrap(self, command):
        return ["/bin/sh", "-c", 'exec "$@" >"$0"', self.fifo, *command]


def piped(bench):
    up = bench.register(IntoAPipe.__new__(IntoAPipe), bench.new_folder("up"),
                        config={"engine": [mock_unit("tiny", args=["--tokens-per-second", "0"], slots=2)]})
    up.wait_unit("tiny", "ready")
    return up


def until_dropped(up):
    """Asks until records were dropped; every answer is there all the same."""
    for _ in range(200):
        for _ in range(50):
            assert up.chat(user="x" * 100).status == 200
        if up.metric("inferd_log_dropped_total") > 0:
            return
    raise AssertionError("nothing was dropped: is there a reader?")


class Drain(threading.Thread):
    """Reads a pipe to its end."""

    def __init__(self, fd):
        super().__init__()
        self.fd, self.text = fd, b""
        os.set_blocking(fd, True)
        self.start()

    def run(self):
        while more := os.read(self.fd, 65536):
            self.text += more


@pytest.mark.smoke
def test_a_stalled_reader_of_stdout_stops_nobody(bench):
    up = piped(bench)
    until_dropped(up)
    assert up.unit("tiny")["state"] == "ready" and up.ctl("status").returncode == 0
    up.ctl("restart", "tiny")
    up.wait_unit("tiny", "ready")
    up.write_config({"engine": [mock_unit("tiny")], "limits": {"queue_length": 7}})
    up.reload()
    until(lambda: up.metric("inferd_reloads_total") == 1, "a reload")
    drain = Drain(up.reader)
    until(lambda: up.chat().status == 200 and b'"dropped ' in drain.text, "a line says how many were dropped")
    up.signal(signal.SIGTERM)
    assert up.wait_exit() == 0
    drain.join()
    lines = drain.text.split(b"\n")
    assert lines.pop() == b"", "the last line is whole"
    records = [json.loads(line) for line in lines]
    assert max(len(line) for line in lines) < 4000
    dropped = [r for r in records if r["msg"].startswith("dropped ")]
    assert dropped and all(r["level"] == "warn" for r in dropped)
    assert any(r["msg"] == "ended" for r in records), "it writes again"


def test_a_reader_of_stdout_that_never_reads_does_not_hold_up_the_end(bench):
    up = piped(bench)
    until_dropped(up)
    up.signal(signal.SIGTERM)
    assert up.wait_exit() == 0


def test_a_reader_of_stdout_that_leaves_ends_nothing(bench):
    up = piped(bench)
    gateway = up.gateway_pid()
    os.close(up.reader)
    for _ in range(300):
        assert up.chat(user="x" * 100).status == 200
    assert up.gateway_pid() == gateway and up.unit("tiny")["restarts"] == 0
