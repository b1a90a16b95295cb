# SPDX-License-Identifier: Apache-2.0
"""An engine that lies: every reply is a good one that was damaged, in a way that follows from the request's number
alone, so that a finding can be had again. The client's side of the same numbers is judged by `verdict`.

    with Liar() as liar:
        ...requests whose body is liar.body(n), over the gateway...
    liar.problems  # connections that were used again though unexpected bytes had come on them

What is asked of a gateway, whatever comes:
- it lives;
- a reply that its engine did not finish does not reach the client as a finished one;
- nobody gets what was meant for another: each reply carries its number;
- a connection on which unexpected bytes came carries no further request."""

import asyncio
import collections
import json
import random
import re
import threading

from harness.gateway import remote
from harness.load import rush
from harness.wait import until

CLEAN, CUT, EXTRA, HEAD, FRAMING, NOISE = "clean", "cut", "extra", "head", "framing", "noise"


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


def good(n, dice):
    """A reply as it should be: (head, body, does only the close end it)."""
    mark = f"mark-{n}-"
    kind = dice.randrange(4)
    if kind == 0:
        body = json.dumps({"id": mark, "model": "tiny", "choices": [], "pad": "x" * dice.randrange(3000)}).encode()
        return f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode(), body, False
    if kind == 1:
        pieces = [json.dumps({"id": mark, "pad": "y" * dice.randrange(2000)}).encode()]
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
        return head, b"".join(chunk(p) for p in pieces) + b"0\r\n\r\n", False
    events = [f"data: {json.dumps({'id': mark, 't': i, 'pad': 'z' * dice.randrange(200)})}\n\n".encode() for i in range(dice.randrange(1, 9))]
    events.append(b"data: [DONE]\n\n")
    if kind == 2:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        return head, b"".join(chunk(e) for e in events) + b"0\r\n\r\n", False
    return b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n", b"".join(events), True


HEADS = [  # what becomes of a head
    lambda h, d: h.replace(b"HTTP/1.1", d.choice([b"HTTP/1.2", b"HTTP/3", b"http/1.1", b"ICY", b"HTTP/1.1 "]), 1),
    lambda h, d: h.replace(b" 200 ", d.choice([b" 2000 ", b" 20 ", b" -1 ", b" 099 ", b" ", b" 200"]), 1),
    lambda h, d: h[:-2] + b"x-a: b" + d.choice([b"\r", b"\n", b"\0", b"\x7f", b"\x01"]) + b"set-cookie: forged\r\n\r\n",
    lambda h, d: h[:-2] + b"content-length: 5\r\ncontent-length: 7\r\n\r\n",
    lambda h, d: h[:-2] + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
    lambda h, d: h[:-2] + b"transfer-encoding: " + d.choice([b"gzip, chunked", b"chunked, chunked", b"xchunked", b"identity"]) + b"\r\n\r\n",
    lambda h, d: h[:-2] + b"".join(b"x-%d: %s\r\n" % (i, b"v" * 300) for i in range(d.choice([250, 500]))) + b"\r\n",
    lambda h, d: h[:-2] + b" folded: line\r\n\r\n",
    lambda h, d: h[:-2] + b"bad name: x\r\n\r\n",
    lambda h, d: b"HTTP/1.1 100 Continue\r\n\r\n" * d.choice([17, 100]) + h,
    lambda h, d: b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n" + h,
    lambda h, d: d.randbytes(d.randrange(1, 400)) + h,
]


def damage_framing(body, dice):
    """A chunk's size line that is none, or says too much."""
    sizes = [m.start() for m in re.finditer(rb"(?:^|\r\n)[0-9a-f]+\r\n", body)] or [0]
    at = dice.choice(sizes)
    at += 2 if body[at:at + 2] == b"\r\n" else 0
    return body[:at] + dice.choice([b"fffffffff", b"-", b"0x", b"+1", b"g", b"1 ", b"7fffffff", b"\r\n", b";" * 300]) + body[at:]


class Reply:
    """What the engine does for request n."""

    def __init__(self, n, seed):
        dice = random.Random((seed << 32) + n)
        head, body, self.closes = good(n, dice)
        self.chunked = b"chunked" in head
        self.kind = dice.choice([CLEAN, CUT, CUT, EXTRA, HEAD, FRAMING, NOISE])
        self.reset = dice.random() < 0.5
        if self.kind == FRAMING and not self.chunked:
            self.kind = CUT
        if self.kind == CUT:
            body = body[:dice.randrange(0, len(body))]
            if dice.random() < 0.2:
                head, body = head[:dice.randrange(0, len(head))], b""
        elif self.kind == EXTRA and not self.closes:
            body += dice.choice([b"\0", b"HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\nmark-666666-", b"\r\n\r\n", dice.randbytes(50)])
        elif self.kind == HEAD:
            head = dice.choice(HEADS)(head, dice)
        elif self.kind == FRAMING:
            body = damage_framing(body, dice)
        data = bytearray(head + body)
        if self.kind == NOISE:
            for _ in range(dice.randrange(1, 5)):
                at = dice.randrange(len(data))
                how = dice.randrange(3)
                if how == 0:
                    data[at] = dice.randrange(256)
                elif how == 1:
                    del data[at:at + dice.randrange(1, 20)]
                else:
                    data[at:at] = dice.randbytes(dice.randrange(1, 20))
                if not data:
                    break
        self.data = bytes(data)
        self.pieces = dice.choice([1, 1, 1, 2, 3])
        self.keeps = self.kind in (CLEAN, EXTRA) and not self.closes  # else the connection ends behind it

    @property
    def unfinished(self):
        """The engine certainly did not finish it: whoever calls it finished lies."""
        return self.kind in (CUT, FRAMING)


class Liar:
    def __init__(self, seed=1):
        self.seed, self.problems, self.served, self.connections = seed, [], 0, 0
        self.loop = asyncio.new_event_loop()
        self.ready = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.url = None

    def __enter__(self):
        self.thread.start()
        self.ready.wait(10)
        return self

    def __exit__(self, *_):
        self.loop.call_soon_threadsafe(self.stop.set)
        self.thread.join(10)

    @staticmethod
    def body(n):
        return json.dumps({"model": "tiny", "user": f"n{n}", "messages": []}).encode()

    def _run(self):
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(self._serve())

    async def _serve(self):
        self.stop = asyncio.Event()
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0, backlog=1024)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self.ready.set()
        await self.stop.wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def _connection(self, reader, writer):
        self.connections += 1
        spoiled = None
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = re.search(rb"content-length: (\d+)", head)
                body = await reader.readexactly(int(length.group(1))) if length else b""
                number = re.search(rb'"user": "n(\d+)"', body)
                if not number:
                    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
                    continue
                n = int(number.group(1))
                if spoiled is not None:
                    self.problems.append(f"request {n} came on a connection that {spoiled} had left bytes on")
                reply = Reply(n, self.seed)
                self.served += 1
                size = len(reply.data) // reply.pieces + 1
                if reply.kind == EXTRA:
                    size, spoiled = len(reply.data) + 1, n  # in one go, so that nobody may have missed it
                for i in range(0, len(reply.data), size):
                    writer.write(reply.data[i:i + size])
                    await writer.drain()
                    if reply.pieces > 1:
                        await asyncio.sleep(0.001)
                if not reply.keeps:
                    if reply.reset:
                        writer.transport.abort()
                    return
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()


def verdict(seed, outcome):
    """What is wrong with what the client saw; None: nothing."""
    n = int(json.loads(outcome.asked)["user"][1:])
    reply = Reply(n, seed)
    own = {b"%d" % n} | set(re.findall(rb"mark-(\d+)-", reply.data))  # noise may hit the mark itself
    others = set(re.findall(rb"mark-(\d+)-", outcome.body)) - (own - {b"666666"})  # that one is behind the reply's end
    if others:
        return f"{n} ({reply.kind}): got what was meant for {others}"
    if "set-cookie" in outcome.fields and reply.kind != NOISE:
        return f"{n} ({reply.kind}): a forged field"
    if outcome.error and "nothing for" in outcome.error:
        return f"{n} ({reply.kind}): hung"
    finished = outcome.status == 200 and outcome.whole
    if outcome.status == 200 and b"event-stream" in outcome.fields.get("content-type", "").encode():
        end = outcome.stream_end() if reply.kind != NOISE else "noise"  # whose events may be no JSON
        if end == "lie" and not said_done(reply):
            return f"{n} ({reply.kind}): a false end: {outcome!r}"
        finished = end == "done"
    if finished and reply.unfinished and not (reply.closes and said_done(reply)):
        return f"{n} ({reply.kind}): told as finished: {outcome!r}"
    if reply.kind == CLEAN and not finished:
        return f"{n}: a good reply did not arrive: {outcome!r}"
    return None


def run(bench, count, seed=1, at_once=16):
    """So many requests over a gateway of its own; asserts all that is asked of it. What came back, by the damage."""
    seen = collections.Counter()

    def judge(outcome):
        n = int(json.loads(outcome.asked)["user"][1:])
        seen[Reply(n, seed).kind, outcome.status if outcome.whole else "cut"] += 1
        return verdict(seed, outcome)

    with Liar(seed) as liar:
        up = bench.up({"remote": [remote(liar)], "limits": {"idle_ms": 3000, "first_byte_ms": 3000},
                       "breaker": {"broken": 0, "model_failures": 0}}, args=["--log-level", "warn"])
        pid = up.gateway_pid()
        found = [v for v in rush(up.address, (Liar.body(n) for n in range(count)), at_once, judge=judge) if v]
        assert not found, "\n".join(found[:20])
        assert not liar.problems, "\n".join(liar.problems[:20])
        assert up.gateway_pid() == pid and liar.served >= count
        until(lambda: up.metric("inferd_requests_in_flight") == up.metric("inferd_waiting") == 0, "nothing is left")
    return seen


def said_done(reply):
    """Damaged behind its [DONE], which a client may have had by then: nothing it could miss is missing."""
    return b"[DONE]" in reply.data
