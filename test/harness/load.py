# SPDX-License-Identifier: Apache-2.0
"""Load in the test's own process, judged request by request.

    with Load(gateway.address, rate=200) as load:
        ...break something...
    load.outcomes  # one for every request that was due meanwhile

An open loop: request i is due i/rate seconds after the start, whatever became of those before it, and
its time counts from when it was due. So an outage shows in every request it touched, not in one.
`kept` of them travel on kept connections, the others on one of their own each, because refused
connects and closed kept connections are different faults.

    outcomes = rush(address, [body, ...], at_once=50)

A closed loop: so many at a time until all are done; for streams that are to be cut.

One thread with an event loop of its own (asyncio), in the network of the thread that made it. The
client is strict: what does not follow the protocol is an outcome with an error, never an exception."""

import asyncio
import collections
import json
import socket
import threading
import time

from harness.wait import SLOW

CHAT = "/v1/chat/completions"


def chat_body(model="tiny", stream=False, **extra):
    body = {"model": model, "messages": [{"role": "user", "content": "Hi"}], **extra}
    if stream:
        body["stream"] = True
    return json.dumps(body).encode()


class Outcome:
    """What became of one request. `status` None: no reply head came."""

    __slots__ = ("due", "began", "seconds", "first", "status", "fields", "body", "framing", "whole", "refused", "reused",
                 "raced", "error", "asked")

    def __init__(self, due):
        self.due = due  # on the monotonic clock
        self.began = self.first = self.seconds = None  # sent; head and end in seconds after `due`
        self.status = None
        self.fields, self.body, self.framing = {}, b"", None
        self.whole = False  # ended as its framing says
        self.refused = False  # the connection could not be made
        self.reused = False  # on a kept connection
        self.raced = False  # a kept connection had been closed just then: asked again on a fresh one
        self.error = None  # what went wrong, for people
        self.asked = None  # the body that was sent, where it tells them apart

    @property
    def good(self):
        return self.status == 200 and self.whole

    def events(self):
        """The data of each complete event."""
        return [block[5:].lstrip(b" ") for block in self.body.split(b"\n\n")[:-1] if block.startswith(b"data:")]

    def stream_end(self):
        """How a stream ended: "done": as it should; "told": with an error event, no [DONE], no clean end;
        "silent": cut without a word; "lie": anything a client could take for its true end."""
        events = self.events()
        last = events[-1] if events else b""
        error = last.startswith(b"{") and b'"error"' in last and "error" in json.loads(last)
        done = b"[DONE]" in events
        if done:
            return "done" if self.whole and not error and last == b"[DONE]" else "lie"
        if self.whole:
            return "lie"
        return "told" if error else "silent"

    def __repr__(self):
        when = f"{self.seconds:.3f} s" if self.seconds is not None else "?"
        return f"<{self.status} whole={self.whole} refused={self.refused} reused={self.reused} {when} {self.error or ''} {self.body[-200:]!r}>"


class _Ended(Exception):
    """The connection ended or what came is not HTTP."""


class _Wire:
    """A connection. No asyncio stream, because those forget what was read when a reset follows."""

    def __init__(self, s):
        self.socket, self.buffer, self.loop = s, b"", asyncio.get_running_loop()

    @staticmethod
    async def open(address):
        unix = address.startswith("unix:")
        host, _, port = address.rpartition(":")
        s = socket.socket(socket.AF_UNIX if unix else socket.AF_INET6 if host.startswith("[") else socket.AF_INET)
        s.setblocking(False)
        if not unix:
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            await asyncio.get_running_loop().sock_connect(s, address[5:] if unix else (host.strip("[]"), int(port)))
        except BaseException:
            s.close()
            raise
        return _Wire(s)

    def close(self):
        self.socket.close()

    def usable(self):
        """A kept connection: nothing came, and it has not ended."""
        try:
            self.socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return not self.buffer
        except OSError:
            pass
        return False

    async def send(self, data):
        await self.loop.sock_sendall(self.socket, data)

    async def more(self):
        data = await self.loop.sock_recv(self.socket, 65536)
        if not data:
            raise _Ended("the connection ended")
        self.buffer += data

    async def until(self, mark):
        while mark not in self.buffer:
            await self.more()
        before, _, self.buffer = self.buffer.partition(mark)
        return before

    async def take(self, n, outcome):
        """n bytes of the body, into outcome.body as they come, so that a cut leaves what was there."""
        while True:
            outcome.body += self.buffer[:n]
            n, self.buffer = n - len(self.buffer[:n]), self.buffer[n:]
            if n == 0:
                return
            await self.more()


async def _read_head(wire, outcome):
    lines = (await wire.until(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    version, _, rest = lines[0].partition(" ")
    if not version.startswith("HTTP/1.") or not rest[:3].isdigit():
        raise _Ended(f"not a status line: {lines[0]!r}")
    for line in lines[1:]:
        name, _, value = line.partition(":")
        outcome.fields[name.lower()] = value.strip()
    outcome.status = int(rest[:3])


async def _read_chunks(wire, outcome):
    while True:
        size = int(await wire.until(b"\r\n"), 16)
        if size:
            await wire.take(size, outcome)
        if await wire.until(b"\r\n") != b"":
            raise _Ended("no CRLF behind a chunk")
        if size == 0:
            outcome.whole = True
            return


async def _read_body(wire, outcome):
    if outcome.fields.get("transfer-encoding") == "chunked":
        outcome.framing = "chunked"
        await _read_chunks(wire, outcome)
    elif "content-length" in outcome.fields:
        outcome.framing = "length"
        await wire.take(int(outcome.fields["content-length"]), outcome)
        outcome.whole = True
    else:
        raise _Ended("a body without a length, which inferd sends to HTTP/1.0 alone")


class _Client:
    """Sends requests; owns the kept connections."""

    def __init__(self, address, limit):
        self.address, self.limit, self.idle = address, limit, []

    def _format(self, path, body, close):
        host = "localhost" if self.address.startswith("unix:") else self.address
        head = f"{'POST' if body else 'GET'} {path} HTTP/1.1\r\nhost: {host}\r\n"
        if body:
            head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n"
        return (head + ("connection: close\r\n" if close else "") + "\r\n").encode() + (body or b"")

    def _take_idle(self):
        while self.idle:
            wire = self.idle.pop()
            if wire.usable():
                return wire
            wire.close()
        return None

    async def _once(self, outcome, path, body, kept):
        """True: a kept connection had ended before a byte of the reply came, so ask again."""
        wire = self._take_idle() if kept else None
        outcome.reused = wire is not None
        if not wire:
            try:
                wire = await _Wire.open(self.address)
            except OSError as e:
                outcome.refused = True
                raise _Ended(f"connect: {e}") from None
        keep = False
        try:
            outcome.began = time.monotonic()
            await wire.send(self._format(path, body, not kept))
            await _read_head(wire, outcome)
            outcome.first = time.monotonic() - outcome.due
            await _read_body(wire, outcome)
            keep = kept and outcome.fields.get("connection") != "close"
        except (_Ended, OSError):
            if outcome.reused and outcome.status is None and not wire.buffer:
                return True
            raise
        finally:
            if keep:
                self.idle.append(wire)
            else:
                wire.close()
        return False

    async def ask(self, outcome, path, body, kept):
        try:
            async with asyncio.timeout(self.limit):
                while await self._once(outcome, path, body, kept):
                    outcome.raced = True
        except TimeoutError:
            outcome.error = f"nothing for {self.limit:.0f} s"
        except (_Ended, OSError, ValueError) as e:
            outcome.error = str(e) if isinstance(e, _Ended) else repr(e)
        outcome.seconds = time.monotonic() - outcome.due
        return outcome

    def close(self):
        for wire in self.idle:
            wire.close()


def _in_thread(main):
    """Runs the coroutine in a thread of its own; returns the thread and a list for its exception."""
    problems = []

    def run():
        try:
            asyncio.run(main())
        except BaseException as e:  # the thread that waits raises it
            problems.append(e)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, problems


class Load:
    def __init__(self, address, rate=200, kept=0.5, path=CHAT, body=None, limit=30.0, count=None):
        """`body` is bytes or a function of the request's number; `count` ends the load by itself."""
        self.rate, self.kept, self.path, self.count = rate, kept, path, count
        self.body = body if callable(body) else lambda i, b=body or chat_body(): b
        self.outcomes = []
        self.client = _Client(address, limit * SLOW)
        self.over = threading.Event()
        self.began = None
        self.thread = self.problems = None

    def __enter__(self):
        self.thread, self.problems = _in_thread(self._run)
        return self

    def __exit__(self, kind, *_):
        self.stop(wait=kind is None)

    async def _run(self):
        tasks = set()
        self.began = time.monotonic()
        i = 0
        while not self.over.is_set() and i != self.count:
            due = self.began + i / self.rate
            late = due - time.monotonic()
            if late > 0:
                await asyncio.sleep(late)
            kept = int((i + 1) * self.kept) > int(i * self.kept)
            outcome = Outcome(due)
            task = asyncio.ensure_future(self.client.ask(outcome, self.path, self.body(i), kept))
            tasks.add(task)
            task.add_done_callback(lambda t, o=outcome: (tasks.discard(t), self.outcomes.append(o)))
            i += 1
            if late < 0:
                await asyncio.sleep(0)
        if tasks:
            await asyncio.wait(tasks)
        await asyncio.sleep(0)  # the last callbacks
        self.client.close()

    def stop(self, wait=True):
        """No more requests; waits for those under way."""
        self.over.set()
        self.join() if wait else self.thread.join(1)
        return self.outcomes

    def join(self):
        self.thread.join()
        if self.problems:
            raise self.problems[0]
        return self.outcomes


def rush(address, bodies, at_once=50, path=CHAT, limit=60.0, judge=None):
    """All of them, `at_once` at a time, a connection each. `judge` turns an outcome into what is kept."""
    waiting, kept = collections.deque(bodies), []
    judge = judge or (lambda outcome: outcome)

    async def one(client):
        while waiting:
            body = waiting.popleft()
            outcome = Outcome(time.monotonic())
            outcome.asked = body
            kept.append(judge(await client.ask(outcome, path, body, False)))

    async def main():
        client = _Client(address, limit * SLOW)
        await asyncio.gather(*(one(client) for _ in range(at_once)))

    thread, problems = _in_thread(main)
    thread.join()
    if problems:
        raise problems[0]
    return kept


class Streams:
    """`n` streams opened at once and read to their ends."""

    def __init__(self, address, n, model="tiny", limit=60.0):
        self.open, self.n = 0, n
        self.client = _Client(address, limit * SLOW)
        self.outcomes = [Outcome(time.monotonic()) for _ in range(n)]
        self.body = chat_body(model, stream=True)
        self.thread, self.problems = _in_thread(self._run)

    async def _run(self):
        await asyncio.gather(*(self.client.ask(o, CHAT, self.body, False) for o in self.outcomes))

    def talking(self):
        """How many have had an event."""
        return sum(b"data:" in o.body for o in self.outcomes)

    def join(self):
        self.thread.join()
        if self.problems:
            raise self.problems[0]
        return self.outcomes


def tally(outcomes):
    """Why requests failed, for assertions that explain themselves: {"200": n, "refused": n, ...}."""
    found = collections.Counter()
    for o in outcomes:
        if o.refused:
            found["refused"] += 1
        elif o.status is None:
            found[f"no reply: {o.error}"] += 1
        elif not o.whole:
            found[f"{o.status} cut: {o.error}"] += 1
        else:
            found[str(o.status)] += 1
    return dict(found)


def percentile(values, p):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * p / 100))] if ordered else 0.0
