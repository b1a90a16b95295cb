# SPDX-License-Identifier: Apache-2.0
"""`inferd up` and `inferd mock` as objects."""

import json
import os
import signal
import subprocess

from harness import raw, toml
from harness.tree import PROGRAM, Tree, children, command_line, sanitizer_env
from harness.wait import SLOW, until


def remote(engine, name="e", models=("tiny",), **more):
    """A [[remote]] row for an engine object, or a url."""
    return {"name": name, "url": engine if isinstance(engine, str) else engine.url, "models": list(models), **more}


def mock_unit(name, models=("tiny",), args=(), at="${PORT}", **more):
    """An [[engine]] row: `inferd mock` as a unit. `at` may be "${SOCKET}"."""
    where = ["--socket", at] if at == "${SOCKET}" else ["--port", at]
    command = [PROGRAM, "mock", "--name", name, "--models", ",".join(models), *where, *[str(a) for a in args]]
    return {"name": name, "command": command, "models": list(models), **more}


class Mock(Tree):
    """`inferd mock` on a port of the kernel's choice, or on `port`."""

    def __init__(self, folder, name="mock", models=("tiny",), port=0, args=(), wait=True):
        super().__init__([PROGRAM, "mock", "--name", name, "--port", port, "--models", ",".join(models), "--ready-file",
                          f"{folder}/ready", *args], folder, name)
        if wait:
            self.address = self.wait_ready()["listen"][0]
            self.url = f"http://{self.address}"

    def health(self):
        """requests, active, cancelled as the engine counts them."""
        return raw.get(self.address, "/health").json()


class Gateway(Tree):
    """`inferd up`. `config` is TOML text, a dict, or None for no file at all."""

    def __init__(self, folder, config=None, args=(), env=None, wait=True, pass_fds=(), lanes=None, listen=True):
        self.runtime_dir, self.state_dir = f"{folder}/run", f"{folder}/state"
        self.config_path = f"{folder}/inferd.toml"
        os.makedirs(folder, exist_ok=True)
        command = [PROGRAM, "up", "--runtime-dir", self.runtime_dir, "--state-dir", self.state_dir, "--ready-file",
                   f"{folder}/ready"]
        for flag, value in (("--log-format", "json"), ("--log-level", "debug")):
            if flag not in args:
                command += [flag, value]
        if config is not None:
            self.write_config(config)
            command += ["--config", self.config_path]
        if listen and not self._says_listen(config, args):
            command += ["--listen", "127.0.0.1:0"]
        lanes = lanes or os.environ.get("INFERD_TEST_LANES", "2")
        super().__init__(self.wrap([*command, "--lanes", lanes, *args]), folder, "inferd up", env, pass_fds=pass_fds)
        self.address = self.ready = None
        if wait:
            self.wait()

    def wrap(self, command):
        """What really is executed; for those who need a shell around it."""
        return command

    @staticmethod
    def _says_listen(config, args):
        text = config if isinstance(config, str) else toml.dump(config or {})
        return "[[listen]]" in text or any(str(a).startswith("--listen") for a in args)

    def wait(self, seconds=10.0):
        self.ready = self.wait_ready(seconds)
        self.address = self.ready["listen"][0] if self.ready["listen"] else None
        return self

    def write_config(self, config):
        text = config if isinstance(config, str) else toml.dump(config)
        with open(self.config_path + ".new", "w", encoding="utf-8") as f:
            f.write(text)
        os.rename(self.config_path + ".new", self.config_path)

    @property
    def url(self):
        return f"http://{self.address}"

    # processes

    def gateway_pid(self):
        """The process that talks to clients."""
        found = [p for p in children(self.pid) if "gateway" in command_line(p)[1:2]]
        assert len(found) == 1, f"gateways: {found}"
        return found[0]

    # clients

    def get(self, target, headers=()):
        return raw.get(self.address, target, headers)

    def post(self, target, json_body=None, body=None, headers=()):
        return raw.post(self.address, target, json_body, body, headers)

    def chat(self, model="tiny", stream=False, **extra):
        return raw.chat(self.address, model, stream, **extra)

    def open(self, seconds=10.0, receive_buffer=None, source=None):
        return raw.Connection(self.address, seconds, receive_buffer, source)

    def open_chat(self, model="tiny", stream=True, seconds=10.0, receive_buffer=None, **extra):
        """A connection on which a chat was asked for and nothing was read."""
        c = self.open(seconds, receive_buffer)
        c.request("POST", "/v1/chat/completions", json_body={"model": model, "stream": stream, "messages": [], **extra})
        return c

    # the operator

    @property
    def control(self):
        return f"unix:{self.runtime_dir}/ctl.sock"

    def admin(self, target):
        reply = raw.get(self.control, target)
        assert reply.status == 200, reply
        return reply.json()

    def ctl(self, *words, check=True):
        """`inferd ctl` as a finished process; its stdout as text."""
        done = subprocess.run([PROGRAM, "ctl", "--runtime-dir", self.runtime_dir, *words], capture_output=True, text=True,
                              timeout=30 * SLOW, check=False, env=dict(os.environ, **sanitizer_env(self.folder)))
        assert not check or done.returncode == 0, f"ctl {words}: {done.returncode} {done.stderr}{done.stdout}"
        return done

    def ctl_json(self, *words):
        return json.loads(self.ctl("--json", *words).stdout)

    def unit(self, name):
        """The row of a unit in /units."""
        rows = [u for u in self.admin("/units")["units"] if u["name"] == name]
        if len(rows) != 1:  # not an assertion: a gateway that has just begun is asked again by until()
            raise LookupError(f"{len(rows)} units {name}")
        return rows[0]

    def wait_unit(self, name, state, seconds=10.0):
        """Its row when it was found in that state."""

        def row():
            found = self.unit(name)
            return found if found["state"] == state else None

        return until(row, f"unit {name} {state}", seconds)

    def metrics(self):
        """{"name{labels}": value} of /metrics."""
        reply = raw.get(self.control, "/metrics")
        assert reply.status == 200, reply
        found = {}
        for line in reply.body.decode().splitlines():
            if line and not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                found[name] = float(value)
        return found

    def metric(self, name):
        """The sum of a metric over its labels."""
        return sum(v for k, v in self.metrics().items() if k == name or k.startswith(name + "{"))

    # the log

    def log(self, **wanted):
        """Records whose fields have these values; every line of stdout must be one record. A line without its end
        is being written just now."""
        found = []
        for line in self.stdout().rpartition(b"\n")[0].splitlines():
            try:
                record = json.loads(line)
            except ValueError:
                raise AssertionError(f"not a log record: {line!r}") from None
            if all(record.get(k) == v for k, v in wanted.items()):
                found.append(record)
        return found

    def wait_log(self, seconds=5.0, **wanted):
        return until(lambda: self.log(**wanted), f"a log record with {wanted}", seconds)[0]

    def reload(self):
        self.signal(signal.SIGHUP)

    def stop(self, seconds=15.0):
        problems = super().stop(seconds)
        if not self.killed and self.stdout().rpartition(b"\n")[2]:
            problems.append("the log's last line is cut")
        try:
            self.log()
        except AssertionError as e:
            problems.append(str(e))
        return problems
