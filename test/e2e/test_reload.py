# SPDX-License-Identifier: Apache-2.0
"""SIGHUP: the new configuration holds as a whole or not at all, and nothing that goes on is dropped."""

import os
import threading

import pytest

from harness import net, raw
from harness.gateway import mock_unit, remote
from harness.tree import alive
from harness.wait import SLOW, never, until


def reload(up, config, ok=True):
    """Writes it, sends SIGHUP, waits for the verdict in the log."""
    before = len(verdicts(up))
    up.write_config(config)
    up.reload()
    record = until(lambda: len(verdicts(up)) > before and verdicts(up)[before], "the reload's verdict", 8)
    assert (record["msg"] == "reloaded") == ok, record
    return record


def verdicts(up):
    """One record for each reload: it holds, or it was refused."""
    return [r for r in up.log() if r["msg"] == "reloaded" or r["msg"].startswith("reload refused")]


@pytest.mark.smoke
@pytest.mark.threads
def test_remotes_come_and_go(bench):
    one, two = bench.engine(), bench.engine()
    config = {"listen": [{"address": "127.0.0.1:0"}], "remote": [remote(one, "one", ["a"])]}
    up = bench.up(config)
    assert up.chat("a").status == 200 and up.chat("b").status == 404
    with up.open() as c:
        c.request("POST", "/v1/chat/completions", json_body={"model": "a"})
        assert c.reply().status == 200
        reload(up, {**config, "remote": [remote(two, "two", ["b"])], "model": {"c": {"target": "b"}}})
        c.request("POST", "/v1/chat/completions", json_body={"model": "c"})  # the same connection
        assert c.reply().json()["model"] == "c"
    assert up.chat("a").status == 404 and up.chat("b").status == 200
    assert [m["id"] for m in up.get("/v1/models").json()["data"]] == ["b", "c"]


def refuses(address):
    try:
        raw.connect(address).close()
    except OSError:
        return True
    return False


def test_listeners_come_and_go(bench):
    engine = bench.engine()
    ports = [net.free_port() for _ in range(2)]
    first, second = (f"127.0.0.1:{p}" for p in ports)
    sock = f"unix:{bench.path('x.sock')}"
    config = {"listen": [{"address": first}], "remote": [remote(engine)]}
    up = bench.up(config)
    with raw.Connection(first) as old:
        old.request("GET", "/health")
        assert old.reply("GET").status == 200
        reload(up, {**config, "listen": [{"address": second}, {"address": sock}]})
        until(lambda: raw.get(second, "/health").status == 200, "the new address answers")
        assert raw.get(sock, "/health").status == 200
        until(lambda: refuses(first), "the old one does not")
        old.request("POST", "/v1/chat/completions", json_body={"model": "tiny"})  # what was begun there may go on
        assert old.reply().status == 200
    reload(up, config)
    until(lambda: raw.get(first, "/health").status == 200, "the first address is back")
    until(lambda: not os.path.exists(sock[5:]), "the socket is gone")


def test_an_address_that_cannot_be_bound(bench):
    engine = bench.engine()
    config = {"listen": [{"address": "127.0.0.1:0"}], "remote": [remote(engine)]}
    up = bench.up(config)
    reload(up, {**config, "listen": [{"address": "127.0.0.1:0"}, {"address": f"127.0.0.1:{engine.port}"}], "remote": []}, ok=False)
    assert up.chat().status == 200


@pytest.mark.smoke
@pytest.mark.parametrize("bad", ["[[remote]\n", "what = 1\n", '[[remote]]\nname = "x"\nurl = "https://x"\n', "[limits]\nhead_ms = -1\n", None])
def test_a_bad_file_keeps_the_old(bench, bad):
    engine = bench.engine()
    config = {"listen": [{"address": "127.0.0.1:0"}], "remote": [remote(engine)]}
    up = bench.up(config)
    if bad is None:
        os.unlink(up.config_path)
        up.reload()
        until(lambda: verdicts(up), "the reload's verdict")
    else:
        record = reload(up, bad, ok=False)
        assert "inferd.toml" in str(record), record
    assert up.chat().status == 200
    reload(up, {**config, "model": {"nick": {"target": "tiny"}}})
    assert up.chat("nick").status == 200
    assert up.metric("inferd_reloads_refused_total") == 1 and up.metric("inferd_reloads_total") == 1


def test_units_come_go_and_change(bench):
    base = {"listen": [{"address": "127.0.0.1:0"}]}
    up = bench.up({**base, "engine": [mock_unit("keep", ["keep"]), mock_unit("go", ["go"]), mock_unit("change", ["change"])]})
    pids = {n: up.wait_unit(n, "ready")["pid"] for n in ("keep", "go", "change")}
    reload(up, {**base, "engine": [mock_unit("keep", ["keep"], slots=3), mock_unit("change", ["change"], args=["--latency-ms", 1]),
                                   mock_unit("new", ["new"])]})
    assert up.wait_unit("new", "ready")["pid"]
    until(lambda: not alive(pids["go"]), "the removed unit ends")
    until(lambda: up.unit("change")["state"] == "ready" and up.unit("change")["pid"] != pids["change"], "the changed one is started anew")
    assert up.unit("keep")["pid"] == pids["keep"] and up.unit("keep")["slots"] == 3 and up.unit("keep")["restarts"] == 0
    assert up.chat("go").status == 404
    for model in ("keep", "change", "new"):
        assert up.chat(model).status == 200
    until(lambda: "go" not in [u["name"] for u in up.admin("/units")["units"]], "the removed one is listed no more")


def test_a_removed_unit_finishes_its_stream(bench):
    base = {"listen": [{"address": "127.0.0.1:0"}]}
    up = bench.up({**base, "engine": [mock_unit("tiny", args=["--tokens-per-second", 40, "--repeat", 3])]})
    up.wait_unit("tiny", "ready")
    with up.open_chat(seconds=20) as c:
        reply = c.head()
        assert c.begun()
        reload(up, base)
        assert up.chat().status in (404, 503)
        c.body(reply)
        assert reply.whole and reply.events()[-1] == "[DONE]"


@pytest.mark.smoke
@pytest.mark.threads
def test_nothing_is_dropped(bench):
    """Twenty reloads, every second one broken, under requests and streams."""
    m = bench.mock(args=["--tokens-per-second", "400"])
    config = {"listen": [{"address": "127.0.0.1:0"}], "remote": [remote(m)]}
    up = bench.up(config)
    failed, done, over = [], [0], threading.Event()

    def load(stream):
        net_ok = True
        while not over.is_set() and net_ok:
            try:
                reply = up.chat(stream=stream)
                if reply.status != 200 or not reply.whole:
                    failed.append(reply)
                done[0] += 1
            except (OSError, AssertionError) as e:
                failed.append(e)

    threads = [threading.Thread(target=load, args=(k % 2 == 0,)) for k in range(4)]
    for t in threads:
        t.start()
    try:
        for i in range(20):
            until(lambda n=done[0]: done[0] > n + 1 or failed, "requests are answered between two reloads")
            if i % 2:
                reload(up, "broken", ok=False)
            else:
                reload(up, {**config, "model": {f"nick{i}": {"target": "tiny"}}, "limits": {"head_ms": 5000 + i}})
    finally:
        over.set()
        for t in threads:
            t.join(20 * SLOW)
    assert not failed and done[0] > 20, failed[:3]
    assert up.chat("nick18").status == 200


def test_what_needs_a_restart_is_said(bench):
    engine = bench.engine()
    config = {"listen": [{"address": "127.0.0.1:0"}], "remote": [remote(engine)]}
    up = bench.up(config)
    record = reload(up, {**config, "process": {"user": "daemon"}})
    assert record["level"] == "warn" and "process.user" in str(record), record
    assert up.chat().status == 200


def test_limits_are_new_for_new_requests(bench):
    engine = bench.engine()
    config = {"listen": [{"address": "127.0.0.1:0"}], "remote": [remote(engine)]}
    up = bench.up(config)
    big = {"model": "tiny", "x": "y" * 2000}
    assert up.post("/v1/chat/completions", big).status == 200
    reload(up, {**config, "limits": {"body_bytes": 1000}})
    assert up.post("/v1/chat/completions", big).status == 413


def test_hangups_in_a_row(bench):
    """Coalesced: as many as one likes, and the last file holds."""
    engine = bench.engine()
    config = {"listen": [{"address": "127.0.0.1:0"}], "remote": [remote(engine)]}
    up = bench.up(config)
    for i in range(30):
        up.write_config({**config, "model": {f"nick{i}": {"target": "tiny"}}})
        up.reload()
    until(lambda: up.chat("nick29").status == 200, "the last one holds")
    never(lambda: not up.running(), "it ended", 0.1)
