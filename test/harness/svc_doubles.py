# SPDX-License-Identifier: Apache-2.0
"""Peers that behave like the programs of InfiniLM-SVC which inferd replaces, for tests of the drop-in contract: what
they send is what stands on the wire, byte for byte, where it matters.

OldRegistry    HTTP/1.0, replies without a length, and only the literal request of the original's router is known
OldSitter      the health endpoint behind an engine: without a length, or with a body that never ends
OldRegistrant  whoever registers and beats: POSTs with neither a length nor a type, spaced JSON, keys of its own
old_engine     a script for fake.Engine: HTTP/1.0, delimited by the end of the connection
router_sync    what the original's router asks a registry every few seconds
"""

import json
import socket
import threading
import time

from harness import fake, raw
from harness.fabric import free_pair, record


class Server:
    """Takes connections on 127.0.0.1 (or `host`), one request each; `answer(socket, head, body)` is the peer's."""

    def __init__(self, port=0, host="127.0.0.1"):
        self.listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((host, port))
        self.listener.listen(512)
        self.port = self.listener.getsockname()[1]
        self.url = f"http://{host if ':' not in host else f'[{host}]'}:{self.port}"
        self.heads, self.problems, self.over = [], [], False
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while not self.over:
            try:
                s, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(s,), daemon=True).start()

    def _serve(self, s):
        try:
            with s:
                data = b""
                while b"\r\n\r\n" not in data:
                    more = s.recv(65536)
                    if not more:
                        return
                    data += more
                head, _, body = data.partition(b"\r\n\r\n")
                length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                want = int(length[0].partition(b":")[2]) if length else 0
                while len(body) < want:
                    more = s.recv(65536)
                    if not more:
                        return
                    body += more
                self.heads.append(head.decode("latin-1"))
                self.answer(s, head.decode("latin-1"), body)
        except OSError:
            pass

    def answer(self, s, head, body):
        raise NotImplementedError

    def lines(self):
        """The request lines so far."""
        return [head.split("\r\n")[0] for head in self.heads]

    def close(self):
        self.over = True
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()


def reply_old(s, document, status="200 OK"):
    """As a server of HTTP/1.0 does without a length: the end of the connection is the end of the body."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    s.sendall(f"HTTP/1.0 {status}\r\nServer: BaseHTTP/0.6\r\nContent-type: application/json\r\n\r\n".encode() + body)


class OldRegistry(Server):
    """`services`: the elements it returns; a bytes value is returned as it stands. `path`: in front of all its paths.
    `wrong`: a status line's rest that every answer has instead."""

    def __init__(self, path="", **kw):
        self.path, self.services, self.wrong = path, [], None
        self.posted, self.beaten, self.deleted = [], [], []  # bodies; (name, body); names
        self.known = set()
        super().__init__(**kw)

    def element(self, name, at, models=("model-a",), **changes):
        """One more service, on port `at`, as the original lists it; returns it, to be changed or removed."""
        metadata = changes.pop("metadata", {})  # None: it has none
        if metadata is not None:
            metadata = {"type": "openai-api", "models": list(models), "babysitter": "enhanced", **metadata}
        whole = {**record(name, port=at, url=f"http://127.0.0.1:{at}"), "metadata": metadata,
                 "timestamp": "2026-11-20T21:08:53.120411", "last_heartbeat": 1795208933.1204, "health_status": "healthy",
                 "is_healthy": True, **changes}
        found = {k: v for k, v in whole.items() if v is not None}
        self.services.append(found)
        return found

    def answer(self, s, head, body):
        method, target, _ = head.split("\r\n")[0].split(" ")
        if self.wrong:
            return reply_old(s, {}, self.wrong)
        if (method, target) == ("GET", f"{self.path}/services?healthy=true"):
            document = self.services
            if not isinstance(document, bytes):
                document = {"services": document, "total": len(document), "timestamp": "2026-11-20T21:08:53.120411"}
            return reply_old(s, document)
        if (method, target) == ("POST", f"{self.path}/services"):
            self.posted.append(json.loads(body))
            self.known.add(self.posted[-1]["name"])
            return reply_old(s, {"message": "registered"}, "201 Created")
        name = target.rpartition("/services/")[2].partition("/")[0]
        if name not in self.known:
            return reply_old(s, {"error": "Service not found"}, "404 Not Found")
        if method == "POST" and target.endswith("/heartbeat"):
            self.beaten.append((name, body))
            return reply_old(s, {"message": "Heartbeat received"})
        if method == "DELETE":
            self.deleted.append(name)
            self.known.discard(name)
            return reply_old(s, {"message": "unregistered"})
        return reply_old(s, {"error": "Not found"}, "404 Not Found")

    def forget(self):
        """As after a restart."""
        self.known.clear()


class OldSitter(Server):
    """On P + 1. `mode`: "close" (no length, closes), "endless" (a body that never ends), "down" (503), "silent", or
    a URL: a redirect there."""

    BODY = {"babysitter": "enhanced", "infinilm_server_port": 1, "infinilm_server_running": True, "service": "s",
            "status": "healthy", "timestamp": 1795208933.25}

    def __init__(self, port, mode="close", **kw):
        self.mode = mode
        super().__init__(port, **kw)

    def answer(self, s, head, body):
        if self.mode == "down":
            reply_old(s, {"status": "starting"}, "503 Service Unavailable")
        elif self.mode == "close":
            reply_old(s, self.BODY)
        elif "://" in self.mode:
            s.sendall(f"HTTP/1.1 302 Found\r\nlocation: {self.mode}\r\ncontent-length: 0\r\n\r\n".encode())
        else:
            if self.mode == "endless":
                s.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{")
            while not self.over:
                if self.mode == "endless":
                    s.sendall(b" ")
                time.sleep(0.02)


def old_engine(c):
    """The whole reply in HTTP/1.0; the end of the connection is its end."""
    text = {"id": "x", "object": "chat.completion", "model": c.json().get("model"), "choices": [
        {"index": 0, "message": {"role": "assistant", "content": f"Hello from {c.engine.port}"}, "finish_reason": "stop"}]}
    c.send(b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n" + json.dumps(text).encode())
    c.fin()


class OldEngine:
    """An engine on P and its babysitter's health on P + 1; `name` and `port` as a registry's element wants them."""

    def __init__(self, bench, script=fake.answer_chat, mode="close", host="127.0.0.1", **kw):
        self.port = free_pair(host)
        self.engine = bench.engine(script, at=(host, self.port), **kw)
        self.sitter = OldSitter(self.port + 1, mode, host=host)
        bench.engines.append(self.sitter)

    @property
    def requests(self):
        return self.engine.requests


class OldRegistrant:
    """Registers, beats with a POST that has neither a length nor a type, asks for nothing else, and knows what it
    must not forget: 404 means to register again. `spaced`: JSON as Python's json.dumps makes it."""

    def __init__(self, address, name, spaced=False, **changes):
        self.address, self.name, self.spaced, self.changes = address, name, spaced, changes
        self.registrations = 0

    def register(self):
        # lower-case names; compact JSON with the keys in the struct's order, or blanks between them
        whole = record(self.name, timestamp=None, **self.changes)
        body = json.dumps(whole, separators=None if self.spaced else (",", ":"), indent=4 if self.spaced else None).encode()
        with raw.Connection(self.address) as c:
            c.send(b"POST /services HTTP/1.1\r\ncontent-type: application/json\r\naccept: */*\r\nhost: "
                   + self.address.encode() + b"\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
            reply = c.reply()
        assert reply.status == 201, reply
        self.registrations += 1

    def beat(self):
        """True when it was taken; registers again when nobody knows it."""
        try:
            with raw.Connection(self.address) as c:
                c.send(f"POST /services/{self.name}/heartbeat HTTP/1.1\r\naccept: */*\r\nhost: {self.address}\r\n\r\n".encode())
                reply = c.reply()
        except (OSError, raw.Broken):
            return False
        if reply.status == 404:
            self.register()
            return True
        assert reply.status == 200, reply
        return True


def router_sync(address, version="1.1"):
    """Literally; name -> element."""
    with raw.Connection(address) as c:
        c.send(f"GET /services?healthy=true HTTP/{version}\r\naccept: */*\r\nhost: {address}\r\n\r\n".encode())
        reply = c.reply()
    assert reply.status == 200 and reply["content-type"] == "application/json", reply
    return {s["name"]: s for s in reply.json()["services"]}
