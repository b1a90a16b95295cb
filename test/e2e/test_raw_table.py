# SPDX-License-Identifier: Apache-2.0
"""The table of raw requests (test/http1) sent to a gateway: what it answers, what its engine sees."""

import pathlib
import socket
import sys

import pytest

from harness import raw

FOLDER = pathlib.Path(__file__).parent.parent / "http1"
sys.path.insert(0, str(FOLDER))
import rows as table  # noqa: E402

CHAT = b'{"id":"c","object":"chat.completion","model":"m","choices":[]}'


def record(c):
    c.reply(CHAT)


def method_of(row, status, passed):
    """The method of the reply that comes next: HEAD has no body."""
    if status == 200 and passed < len(row.up):
        return row.up[passed].method.decode("latin-1")
    return "HEAD" if row.sent.startswith(b"HEAD ") else "GET"


def converse(address, row):
    """Statuses of all replies, and whether the connection ended with nothing but them."""
    statuses, passed = [], 0
    want = [] if row.gate == "close" else row.gate.split()
    with raw.Connection(address) as c:
        c.send(row.sent)
        for _ in want:
            reply = c.head()
            statuses.append(reply.status)
            if reply.status == 100:
                continue
            c.body(reply, method_of(row, reply.status, passed))
            passed += reply.status == 200
            assert reply.whole, f"{row.place} {row.id}: {reply}"
            if reply.status >= 400:
                reply.error() if reply.body else None
        try:
            c.socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it has closed already
        while c.more():
            pass
        assert not c.waiting, f"{row.place} {row.id}: bytes nobody expected: {c.waiting[:200]!r}"
    return statuses


def fits(statuses, gate):
    want = [] if gate == "close" else gate.split()
    if gate == "200|100 200":
        return statuses in ([200], [100, 200])
    return len(want) == len(statuses) and all(w == "?" or str(s) in w.split("|") for w, s in zip(want, statuses))


def upstream_complaints(row, calls, passed):
    """What is wrong with what the engine got."""
    if "?" in row.gate:
        return []
    if len(calls) != passed:
        return [f"{len(calls)} requests reached the engine, {passed} were answered with 200"]
    found = []
    for want, call in zip(row.up, calls):
        fields = [(n.encode("latin-1"), v.encode("latin-1")) for n, v in call.fields]
        own = [f for f in fields if f[0] in (b"host", b"content-length", b"x-request-id")]
        rest = [f for f in fields if f not in own]
        expected = [(n.lower(), v) for n, v in want.fields if n.lower() != b"x-request-id"]
        if not any(n == b"accept" for n, _ in expected):
            expected.append((b"accept", b"*/*"))
        if call.method.encode() != want.method or call.target.encode("latin-1") != want.target:
            found.append(f"{call.method} {call.target}, not {want.method} {want.target}")
        if rest != expected:
            found.append(f"fields {rest}, not {expected}")
        if call.body != want.body:
            found.append(f"body {call.body[:100]!r}, not {want.body[:100]!r}")
        if sorted(n for n, _ in own if n != b"content-length") != [b"host", b"x-request-id"]:
            found.append(f"own fields {own}")
    return found


def files():
    return sorted(p.name for p in FOLDER.glob("*.rows"))


@pytest.mark.parametrize("name", files())
def test_rows(bench, name):
    engine = bench.engine(record, gets=False)
    up = bench.up({"remote": [{"name": "e", "url": engine.url, "models": ["m"], "kind": "openai", "passthrough": ["/raw"],
                               "probe_path": "none"}],  # what reaches the engine is a row's
                   "limits": {"head_ms": 3000}})
    complaints = []
    for row in table.read_file(FOLDER / name):
        engine.requests.clear()
        if row.gate == "200|100 200":  # either is right: take what comes
            row.gate = "200"
        try:
            statuses = converse(up.address, row)
        except (AssertionError, OSError) as e:
            complaints.append(f"{row.place} {row.id}: {e}")
            continue
        if not fits(statuses, row.gate):
            complaints.append(f"{row.place} {row.id}: answered {statuses}, not {row.gate}")
        own = sum(1 for u in row.up if u.target.startswith(b"/v1/models"))
        passed = max(0, statuses.count(200) - own)
        complaints += [f"{row.place} {row.id}: {c}" for c in upstream_complaints(row, list(engine.requests), passed)]
    assert not complaints, "\n".join(complaints)
    assert not engine.problems
