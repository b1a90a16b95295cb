# SPDX-License-Identifier: Apache-2.0
"""B15: clients of the router ask for endless bodies, of events, in chunks and of a length, and never read. What is
held for each is bounded, and the engine is not read on their behalf."""

import asyncio
import threading

import pytest

from harness import faults, raw
from harness.wait import until

USER_KB = 64  # a reader at most
PIECE = b"data: " + b"x" * 8184 + b"\n\n"
HEADS = {"/events": b"content-type: text/event-stream\r\ntransfer-encoding: chunked\r\n", "/chunks": b"transfer-encoding: chunked\r\n",
         "/length": b"content-length: 1000000000000\r\n"}


class Flood:
    """An engine whose every body is endless; `sent` counts what was taken from it, by connection."""

    def __init__(self):
        self.sent, self.loop, started = {}, asyncio.new_event_loop(), threading.Event()

        async def serve():
            server = await asyncio.start_server(self.answer, "127.0.0.1", 0, backlog=2048)
            self.port = server.sockets[0].getsockname()[1]
            started.set()

        self.loop.create_task(serve())
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        started.wait()

    async def answer(self, reader, writer):
        try:
            path = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1].decode()
            writer.write(b"HTTP/1.1 200 OK\r\n" + HEADS[path] + b"\r\n")
            piece = PIECE if path == "/length" else b"%x\r\n%s\r\n" % (len(PIECE), PIECE)
            self.sent[writer] = 0
            while True:
                writer.write(piece)
                await writer.drain()
                self.sent[writer] += len(piece)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.sent.pop(writer, None)
            writer.close()

    async def end(self):
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for t in tasks:
            t.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def close(self):
        asyncio.run_coroutine_threadsafe(self.end(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)


def run(bench, n):
    """Kilobytes of ours a reader."""
    flood = Flood()
    entry = {"name": "flood", "host": "127.0.0.1", "port": flood.port, "health_url": "none"}
    router = bench.router(static=[entry])
    router.wait_healthy("flood")
    pid = router.process.pid
    before = faults.rss_kb(pid)
    readers = []
    for i in range(n):
        c = raw.Connection(router.address, receive_buffer=4096)
        c.request("GET", list(HEADS)[i % len(HEADS)])
        readers.append(c)
    until(lambda: len(flood.sent) == n, "the engine has them all", 30)
    taken = [0]

    def stands_still():
        taken.append(sum(flood.sent.values()))
        return len(taken) > 10 and taken[-1] == taken[-10] > 0

    until(stands_still, "nothing more is read of the engine", 20, every=0.1)
    assert len(flood.sent) == n, "some were cut before it was measured"
    user = (faults.rss_kb(pid) - before) / n
    assert router.get("/health")["router"] == "running"
    for c in readers:
        c.close()
    until(lambda: router.services()["flood"]["in_flight"] == 0, "all are gone", 20)
    flood.close()
    return user


@pytest.mark.fault
def test_40_slow_readers_of_a_router(bench):
    assert run(bench, 40) <= 2 * USER_KB


@pytest.mark.fault
@pytest.mark.full
def test_1000_slow_readers_of_a_router(bench):
    user = run(bench, 1000)
    assert user <= USER_KB, f"{user:.1f} kB a reader"
    print(f"{user:.1f} kB a reader")
