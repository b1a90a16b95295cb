# SPDX-License-Identifier: Apache-2.0
"""An HTTP/1.1 client that hides nothing: bytes out as given, bytes in as they came, and how each reply
and each connection ended. Only what the tests need of the protocol is understood, strictly."""

import json
import socket
import struct
import time

from harness.wait import SLOW


def connect(address, seconds=5.0, receive_buffer=None, source=None):
    """A connected socket; "127.0.0.1:80", "[::1]:80" or "unix:/path". `source`: the address it comes from."""
    if address.startswith("unix:"):
        s = socket.socket(socket.AF_UNIX)
        to = address[5:]
    else:
        host, _, port = address.rpartition(":")
        s = socket.socket(socket.AF_INET6 if host.startswith("[") else socket.AF_INET)
        to = (host.strip("[]"), int(port))
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if receive_buffer:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    s.settimeout(seconds * SLOW)
    try:
        if source:
            s.bind((source, 0))
        s.connect(to)
    except OSError:
        s.close()
        raise
    return s


def connects(address):
    """Somebody listens there."""
    try:
        connect(address).close()
        return True
    except OSError:
        return False


class Broken(AssertionError):
    """The peer's bytes are not a reply."""


class Reply:
    def __init__(self, status, reason, version, fields, names=()):
        self.status, self.reason, self.version = status, reason, version
        self.fields = fields  # [(lower-case name, value)]
        self.names = names  # as they came
        self.body = b""
        self.chunks = []  # of a chunked body
        self.framing = None  # "none", "length", "chunked", "close"
        self.whole = False  # the body ended as its framing says
        self.ended_by = None  # what ended a body that is not whole, or a close-delimited one: "fin", "reset"

    def __getitem__(self, name):
        """The field's value; None when absent; fails when it is repeated."""
        values = [v for n, v in self.fields if n == name]
        assert len(values) <= 1, f"{name} is repeated: {values}"
        return values[0] if values else None

    def json(self):
        return json.loads(self.body)

    def error(self):
        """The OpenAI error object, checked for its shape."""
        assert self["content-type"] == "application/json", self.fields
        document = self.json()
        assert set(document) == {"error"}, document
        error = document["error"]
        assert {"code", "message", "param", "type"} <= set(error), error
        assert isinstance(error["message"], str) and error["message"], error
        assert self.body == json.dumps(document, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()
        return error

    def events(self):
        """The data of each complete event of a stream."""
        found = []
        for block in self.body.decode().split("\n\n")[:-1]:
            lines = [line[5:].lstrip(" ") for line in block.split("\n") if line.startswith("data:")]
            found.append("\n".join(lines))
        return found

    def __repr__(self):
        return f"<{self.status} {self.reason} {dict(self.fields)} {self.body[:300]!r} {self.framing} whole={self.whole}>"


class Connection:
    def __init__(self, address, seconds=10.0, receive_buffer=None, source=None):
        self.socket = connect(address, seconds, receive_buffer, source)
        self.seconds = seconds
        self.waiting = b""  # read, not used yet
        self.eof = None  # None, "fin", "reset"
        self.host = "localhost" if address.startswith("unix:") else address

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def reset(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    # out

    def send(self, data):
        self.socket.sendall(data)

    def send_slowly(self, data, piece=1, pause=0.0):
        for i in range(0, len(data), piece):
            self.socket.sendall(data[i : i + piece])
            time.sleep(pause)

    def request(self, method, target, body=None, headers=(), json_body=None):
        """Who refuses it may say so, and end the connection, before all of it is sent: reading tells."""
        try:
            self.send(self.format(method, target, body, headers, json_body))
        except (BrokenPipeError, ConnectionResetError):
            pass

    def format(self, method, target, body=None, headers=(), json_body=None):
        headers = dict(headers)
        given = {name.lower() for name in headers}
        if json_body is not None:
            body = json.dumps(json_body).encode()
        for name, value in (("content-type", json_body is not None and "application/json"), ("host", self.host),
                            ("content-length", body is not None and str(len(body)))):
            if value and name not in given:
                headers[name] = value
        lines = [f"{method} {target} HTTP/1.1"] + [f"{k}: {v}" for k, v in headers.items() if v is not None]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + (body or b"")

    # in

    def more(self):
        """Reads once; False at the end of the connection."""
        if self.eof:
            return False
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError:
            self.eof = "reset"
            return False
        except TimeoutError:
            raise AssertionError(f"nothing came for {self.seconds * SLOW:.0f} s; before: {self.waiting[-300:]!r}") from None
        if not data:
            self.eof = "fin"
        self.waiting += data
        return bool(data)

    def begun(self):
        """Waits for a byte behind the head; those that came with it count, for nothing more may come. False at the end."""
        return bool(self.waiting) or self.more()

    def _until(self, mark):
        while mark not in self.waiting:
            if not self.more():
                raise Broken(f"the connection ended ({self.eof}) after {self.waiting[:300]!r}")
        before, _, self.waiting = self.waiting.partition(mark)
        return before

    def head(self):
        """One head, 1xx included."""
        lines = self._until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        version, _, rest = lines[0].partition(" ")
        status, _, reason = rest.partition(" ")
        if version not in ("HTTP/1.1", "HTTP/1.0") or not (status.isdigit() and len(status) == 3):
            raise Broken(f"not a status line: {lines[0]!r}")
        fields = []
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            if not colon or not name or name != name.strip():
                raise Broken(f"not a field: {line!r}")
            fields.append((name.lower(), value.strip()))
        return Reply(int(status), reason, version, fields, {line.partition(":")[0] for line in lines[1:]})

    def _length(self, reply, n):
        data = bytearray(self.waiting)
        while len(data) < n:
            self.waiting = b""
            if not self.more():
                break
            data += self.waiting
        reply.body, self.waiting = bytes(data[:n]), bytes(data[n:])
        reply.whole = len(reply.body) == n

    def _chunked(self, reply):
        """Offsets into one growing buffer: a large body must not cost its square."""
        body, at = [], 0
        data = bytearray(self.waiting)

        def grow():
            self.waiting = b""
            more = self.more()
            data.extend(self.waiting)
            return more

        while True:
            end = data.find(b"\r\n", at)
            while end < 0:
                if not grow():
                    break
                end = data.find(b"\r\n", at)
            if end < 0:
                break
            size = int(data[at:end], 16)
            at = end + 2
            while len(data) < at + size + 2 and grow():
                pass
            if len(data) < at + size + 2:
                body.append(bytes(data[at : at + size]))
                at = len(data)
                break
            if data[at + size : at + size + 2] != b"\r\n":
                raise Broken(f"no CRLF behind a chunk: {data[at + size:at + size + 2]!r}")
            if size == 0:
                reply.whole = True
                at += 2
                break
            body.append(bytes(data[at : at + size]))
            reply.chunks.append(body[-1])
            at += size + 2
            if at > 1 << 20:
                del data[:at]
                at = 0
        reply.body = b"".join(body)
        self.waiting = bytes(data[at:])

    def body(self, reply, method="POST"):
        """The rest of a reply whose head was read."""
        if method == "HEAD" or reply.status in (204, 304):
            reply.framing, reply.whole = "none", True
        elif reply["transfer-encoding"] is not None:
            assert reply["transfer-encoding"] == "chunked" and reply["content-length"] is None, reply.fields
            reply.framing = "chunked"
            self._chunked(reply)
        elif reply["content-length"] is not None:
            reply.framing = "length"
            self._length(reply, int(reply["content-length"]))
        else:
            reply.framing = "close"
            while self.more():
                pass
            reply.body, self.waiting = self.waiting, b""
            reply.whole = self.eof == "fin"
        if not reply.whole or reply.framing == "close":
            reply.ended_by = self.eof
        return reply

    def reply(self, method="POST"):
        """One whole reply; a 100 in front of it is skipped."""
        reply = self.head()
        while reply.status == 100:
            reply = self.head()
        return self.body(reply, method)

    def end(self):
        """Waits for the connection's end: "fin" or "reset". Fails if bytes come instead."""
        while self.more():
            pass
        assert not self.waiting, f"bytes behind the end: {self.waiting[:300]!r}"
        return self.eof


def exchange(address, method, target, body=None, headers=(), json_body=None, seconds=10.0):
    """One request on a connection of its own."""
    with Connection(address, seconds) as c:
        c.request(method, target, body, headers, json_body)
        return c.reply(method)


def get(address, target, headers=()):
    return exchange(address, "GET", target, headers=headers)


def post(address, target, json_body=None, body=None, headers=()):
    return exchange(address, "POST", target, body, headers, json_body)


def chat(address, model="tiny", stream=False, seconds=10.0, headers=(), **extra):
    body = {"model": model, "messages": [{"role": "user", "content": "Hi"}], **extra}
    if stream:
        body["stream"] = True
    return exchange(address, "POST", "/v1/chat/completions", headers=headers, json_body=body, seconds=seconds)
