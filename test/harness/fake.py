# SPDX-License-Identifier: Apache-2.0
"""Engines that do exactly what a script says, byte by byte. A script is a function of one request:

    def script(c):
        c.stream_head()
        c.event({"choices": []})
        c.rst()

It is called for every POST; GETs of /health and /v1/models are answered as an engine does, unless the
engine was made with gets=False. One thread a connection; a script that returns leaves the connection
open for the next request, unless it ended it."""

import json
import os
import socket
import struct
import threading
import traceback

from harness.wait import SLOW


class Gone(Exception):
    """The gateway ended the connection."""


class Call:
    """One request on a connection, and the means to answer it badly."""

    def __init__(self, engine, s):
        self.engine, self.socket, self.buffer = engine, s, b""
        self.method = self.target = self.body = None
        self.fields = []
        self.over = False

    def __getitem__(self, name):
        values = [v for n, v in self.fields if n == name]
        assert len(values) <= 1, f"the gateway sent {name} twice: {values}"
        return values[0] if values else None

    def json(self):
        return json.loads(self.body)

    def _more(self):
        try:
            data = self.socket.recv(65536)
        except OSError:
            data = b""
        if not data:
            raise Gone
        self.buffer += data

    def read_request(self):
        """False when the connection ended between requests."""
        while b"\r\n\r\n" not in self.buffer:
            try:
                self._more()
            except Gone:
                return False
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        self.head = head + b"\r\n\r\n"
        lines = head.decode("latin-1").split("\r\n")
        self.method, self.target, version = lines[0].split(" ")
        assert version == "HTTP/1.1", lines[0]
        self.fields = [(n.lower(), v.strip()) for n, _, v in (line.partition(":") for line in lines[1:])]
        length = int(self["content-length"] or 0)
        assert self["transfer-encoding"] is None, "the gateway sends bodies with their length"
        while len(self.buffer) < length:
            self._more()
        self.body, self.buffer = self.buffer[:length], self.buffer[length:]
        return True

    # answers

    def send(self, data):
        try:
            self.socket.sendall(data)
        except OSError:
            raise Gone from None

    def head_of(self, status, fields=(), reason="OK"):
        lines = [f"HTTP/1.1 {status} {reason}"] + [f"{k}: {v}" for k, v in fields]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def reply(self, document, status=200, fields=()):
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        head = [("Content-Type", "application/json"), ("Content-Length", len(body)), *fields]
        self.send(self.head_of(status, head) + body)

    def stream_head(self, fields=()):
        self.send(self.head_of(200, [("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked"), *fields]))

    def chunk(self, data):
        self.send(b"%x\r\n%s\r\n" % (len(data), data))

    def event(self, document):
        text = document if isinstance(document, str) else json.dumps(document)
        self.chunk(b"data: " + text.encode() + b"\n\n")

    def token(self, text, model="tiny"):
        self.event({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": model,
                    "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]})

    def done(self):
        self.event("[DONE]")
        self.send(b"0\r\n\r\n")

    # ends

    def fin(self):
        """Half close, then read what still comes, so that the kernel sends no RST."""
        self.over = True
        try:
            self.socket.shutdown(socket.SHUT_WR)
            self.socket.settimeout(5 * SLOW)
            while self.socket.recv(65536):
                pass
        except OSError:
            pass
        self.socket.close()

    def rst(self):
        self.over = True
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def wait_gone(self, seconds=10.0):
        """Waits for the gateway to end the connection; False if it does not."""
        self.over = True
        self.socket.settimeout(seconds * SLOW)
        try:
            while self.socket.recv(65536):
                pass
            gone = True
        except TimeoutError:
            gone = False
        except OSError:
            gone = True
        self.socket.close()
        if gone:
            self.engine.left.release()
        return gone


def answer_chat(c, text="Hello", model=None):
    """What a well-behaved engine does."""
    model = model or c.json().get("model", "tiny")
    if c.json().get("stream"):
        c.stream_head()
        for letter in text:
            c.token(letter, model)
        c.done()
    else:
        c.reply({"id": "c", "object": "chat.completion", "created": 1, "model": model,
                 "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
                 "usage": {"prompt_tokens": 3, "completion_tokens": len(text), "total_tokens": 3 + len(text)}})


class Engine:
    def __init__(self, script=answer_chat, models=("tiny",), at=("127.0.0.1", 0), path=None, gets=True, server="fake"):
        self.script, self.models, self.gets, self.server = script, models, gets, server
        self.requests = []  # every POST, as its Call
        self.problems = []  # tracebacks of scripts
        self.connections = 0
        self.left = threading.Semaphore(0)  # released by each wait_gone() that saw the end
        self.open = set()
        self.lock = threading.Lock()
        if path:
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(path)
            self.url, self.port, self.path = f"unix:{path}", None, path
        else:
            self.listener = socket.socket(socket.AF_INET6 if ":" in at[0] else socket.AF_INET)
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.listener.bind(at)
            self.port, self.path = self.listener.getsockname()[1], None
            host = f"[{at[0]}]" if ":" in at[0] else at[0]
            self.url = f"http://{host}:{self.port}"
        self.listener.listen(4096)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                s, _ = self.listener.accept()
            except OSError:
                return
            if not self.path:
                # what is sent is with the gateway at once: a reset takes back what waits for an acknowledgement
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.lock:
                self.connections += 1
                self.open.add(s)
            threading.Thread(target=self._serve, args=(s,), daemon=True).start()

    def _get(self, c):
        if c.target == "/v1/models":
            models = [{"id": m, "object": "model", "created": 1, "owned_by": "fake"} for m in self.models]
            c.reply({"object": "list", "data": models}, fields=[("Server", self.server)])
        elif c.target == "/health":
            c.reply({"status": "ok"}, fields=[("Server", self.server)])
        else:
            c.reply({"error": {"message": "no such path", "type": "not_found"}}, 404)

    def _serve(self, s):
        c = Call(self, s)
        try:
            while not c.over and c.read_request():
                if c.method == "GET" and self.gets:
                    self._get(c)
                    continue
                with self.lock:
                    self.requests.append(c)
                self.script(c)
                waiting, c = c.buffer, Call(self, s) if not c.over else c
                c.buffer = waiting
        except Gone:
            pass
        except Exception:  # the test looks at what went wrong in a script
            self.problems.append(traceback.format_exc())
        finally:
            with self.lock:
                self.open.discard(s)
            s.close()

    def close(self):
        """Refuses from now on, and ends every connection."""
        try:
            self.listener.shutdown(socket.SHUT_RDWR)  # close() alone would leave it to the waiting accept()
        except OSError:
            pass
        self.listener.close()
        if self.path and os.path.exists(self.path):
            os.unlink(self.path)
        with self.lock:
            for s in self.open:
                try:
                    s.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
