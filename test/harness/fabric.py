# SPDX-License-Identifier: Apache-2.0
"""The fabric's programs as objects. Peers that behave like the original's are svc_doubles.py's."""

import json
import os
import re
import socket

from harness import net, raw, toml
from harness.tree import PROGRAM, Tree
from harness.wait import until

JSON = {"content-type": "application/json"}


def record(name="svc", **changes):
    """The body of a registration; a change to None leaves the key out."""
    whole = {"name": name, "host": "127.0.0.1", "hostname": "localhost", "port": 6001, "url": "http://127.0.0.1:6001",
             "status": "running", **changes}
    return {k: v for k, v in whole.items() if v is not None}


class Role(Tree):
    """One of the fabric's programs; `alias`: started under its infini- name. `prefix`: words before the command."""

    def __init__(self, folder, role, args=(), env=None, alias=False, wait=True, prefix=()):
        command = [PROGRAM, role]
        if alias:
            os.makedirs(folder, exist_ok=True)
            os.symlink(PROGRAM, f"{folder}/infini-{role}")
            command = [f"{folder}/infini-{role}"]
        super().__init__([*prefix, *command, "--ready-file", f"{folder}/ready", *args], folder, role, env)
        self.address = self.url = None
        if wait:
            self.wait()

    def wait(self):
        self.address = self.wait_ready()["listen"][0].replace("0.0.0.0", "127.0.0.1")
        self.url = f"http://{self.address}"

    def ask(self, method, target, json_body=None, body=None, headers=(), seconds=10.0):
        return raw.exchange(self.address, method, target, body, headers, json_body, seconds)

    def get(self, target, status=200, seconds=10.0):
        reply = self.ask("GET", target, seconds=seconds)
        assert reply.status == status, reply
        return reply.json()

    def metric(self, name, seconds=10.0):
        """The sum of a metric over its labels."""
        reply = self.ask("GET", "/_inferd/metrics", seconds=seconds)
        assert reply.status == 200, reply
        rows = [line.rpartition(" ") for line in reply.body.decode().splitlines() if line and not line.startswith("#")]
        return sum(float(v) for k, _, v in rows if k == name or k.startswith(name + "{"))

    def check_page(self, page):
        """That a page of docs/ has a row for every family of metrics, in the order of /metrics, and no others."""
        text = self.ask("GET", "/_inferd/metrics").body.decode()
        said = [(name, kind, meaning) for name, meaning, kind in re.findall(r"# HELP (\S+) (.*)\n# TYPE \S+ (\S+)", text)]
        with open(f"{os.path.dirname(__file__)}/../../docs/{page}", encoding="utf-8") as f:
            rows = [[c.strip() for c in line.strip("| \n").split("|")] for line in f if line.startswith("| `inferd_")]
        assert [(r[0].strip("`"), r[1], r[-1]) for r in rows] == said

    def log(self):
        """Its whole lines: a line may be looked at while it is being written."""
        whole, newline, _ = self.stdout().rpartition(b"\n")
        return (whole + newline).decode()

    def wait_log(self, text, seconds=5.0):
        until(lambda: text in self.log(), f"{self.name} logs {text!r}", seconds)


class Registry(Role):
    """On a port of the kernel's choice, or on `port`; None: `args` say it."""

    def __init__(self, folder, args=(), port=0, **kw):
        super().__init__(folder, "registry", [*(["--port", port] if port is not None else []), *args], **kw)

    def register(self, name="svc", **changes):
        reply = self.ask("POST", "/services", record(name, **changes))
        assert reply.status == 201, reply
        return reply.json()

    def names(self, query=""):
        return [s["name"] for s in self.get(f"/services{query}")["services"]]


class Router(Role):
    """`registry`: a Registry, a url, or None. `static`: the entries of a static file. Intervals are a second
    unless `args` say otherwise."""

    def __init__(self, folder, registry=None, static=None, args=(), port=0, **kw):
        flags = ["--router-port", port]
        for flag in ("--health-interval", "--registry-sync-interval"):
            if flag not in args:
                flags += [flag, 1]
        if registry:
            flags += ["--registry-url", registry if isinstance(registry, str) else registry.url]
        self.static_path = f"{folder}/static.json"
        if static is not None:
            os.makedirs(folder, exist_ok=True)
            self.write_static(static)
            flags += ["--static-services", self.static_path]
        super().__init__(folder, "router", [*flags, *args], **kw)

    def write_static(self, entries):
        with open(self.static_path + ".new", "w", encoding="utf-8") as f:
            json.dump(entries, f)
        os.rename(self.static_path + ".new", self.static_path)

    def services(self):
        """name -> its element of /services."""
        return {s["name"]: s for s in self.get("/services")["services"]}

    def wait_healthy(self, *names, seconds=10.0):
        """Until exactly these entries are healthy."""
        until(lambda: {n for n, s in self.services().items() if s["healthy"]} == set(names), f"healthy: {names}", seconds)

    def chat(self, model="tiny", stream=False, **extra):
        return raw.chat(self.address, model, stream, **extra)

    def who(self, model="tiny", **extra):
        """The name of the mock that answers."""
        reply = self.chat(model, **extra)
        assert reply.status == 200, reply
        return reply.json()["choices"][0]["message"]["content"].split(" ")[2]


class Sitter(Role):
    """`inferd babysitter` of one engine on `engine_port` (default: a free one with a free one behind it). `models`:
    it runs a mock of its own name that serves them, with `mock_args`. `config`: what else stands in its file, as a
    dict. Neither: `args` say it all."""

    def __init__(self, folder, config=None, models=None, mock_args=(), args=(), name="sitter", registry=None,
                 engine_port=None, **kw):
        self.engine_port = engine_port or free_pair()
        self.sitter_name = name
        flags = []
        if models:
            words = ["mock", "--name", name, "--port", str(self.engine_port), "--models", ",".join(models)]
            backend = {"type": "command", "command": PROGRAM, "args": [*words, *[str(a) for a in mock_args]]}
            config = {"backend": backend, **(config or {})}
        if config is not None:
            os.makedirs(folder, exist_ok=True)
            self.config_path = f"{folder}/{name}.toml"
            whole = {"name": name, "port": self.engine_port, **config}
            if registry:
                whole["registry_url"] = registry if isinstance(registry, str) else registry.url
            with open(self.config_path, "w", encoding="utf-8") as f:
                f.write(toml.dump(whole))
            flags = ["--config-file", self.config_path]
        super().__init__(folder, "babysitter", [*flags, *args], **kw)

    def state(self):
        return self.get("/info")["state"]

    def wait_state(self, state, seconds=10.0):
        until(lambda: self.state() == state, f"{self.sitter_name} is {state}", seconds)
        return self

    def child(self):
        return self.get("/info")["pid"]


def free_pair(host="127.0.0.1"):
    """A port P that is free and has a free one behind it, P + 1."""
    while True:
        port = net.free_port(host)
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as s:
            try:
                s.bind((host, port + 1))
                return port
            except (OSError, OverflowError):
                pass


class BlackHole:
    """Takes connections into its queue and never says a word."""

    def __init__(self):
        self.socket = socket.socket()
        self.socket.bind(("127.0.0.1", 0))
        self.socket.listen(512)
        self.port = self.socket.getsockname()[1]

    def close(self):
        self.socket.close()
