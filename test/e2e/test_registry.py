# SPDX-License-Identifier: Apache-2.0
"""`inferd registry`: every endpoint, the order of its checks, its limits at the limit and one beyond.
Each test names the sentence of the contract that it holds."""

import json
import os
import re
import socket

import pytest

from harness import raw
from harness.fabric import JSON, record
from harness.wait import until

TS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00")


def assert_fault(reply, status, code, param=None):
    error = reply.error()
    assert (reply.status, error["code"], error["param"]) == (status, code, param), reply
    types = {401: "authentication_error", 403: "permission_error", 503: "server_error"}
    assert error["type"] == types.get(status, "invalid_request_error")
    return error["message"]


@pytest.mark.smoke
def test_the_example_of_the_contract(bench):
    """The request and the reply of the contract, key by key, in one line, sorted, floats with .0."""
    r = bench.registry()
    body = (b'{"name":"svc","host":"127.0.0.1","hostname":"localhost","port":6001,"url":"http://127.0.0.1:6001",'
            b'"status":"running","metadata":{"type":"openai-api","models":["m1"],'
            b'"models_list":[{"id":"m1","object":"model","created":1795208933}]}}')
    reply = r.ask("POST", "/services", body=body, headers=JSON)
    assert reply.status == 201 and reply["content-type"] == "application/json" and reply.framing == "length"
    stamp = reply.json()["service"]["timestamp"]
    beat = reply.json()["service"]["last_heartbeat"]
    assert TS.fullmatch(stamp) and reply.body == (
        '{"message":"Service \'svc\' registered successfully","service":{"health_status":"unknown","host":"127.0.0.1",'
        f'"hostname":"localhost","is_healthy":true,"last_heartbeat":{beat:.1f},"metadata":{{"models":["m1"],'
        '"models_list":[{"created":1795208933,"id":"m1","object":"model"}],"type":"openai-api"},"name":"svc","port":6001,'
        f'"status":"running","timestamp":"{stamp}","url":"http://127.0.0.1:6001"}}}}').encode()
    assert {n for n in reply.names} == {n.lower() for n in reply.names} and reply["date"]


def test_what_each_endpoint_says(bench):
    r = bench.registry()
    r.register("a", port=7001)
    r.register("b", host="localhost", status="starting")
    health = r.get("/health")
    assert TS.fullmatch(health.pop("timestamp"))
    assert health == {"healthy_services": 1, "registered_services": 2, "registry": "running", "status": "healthy"}
    stats = r.get("/stats")
    assert TS.fullmatch(stats.pop("timestamp")) and isinstance(stats.pop("uptime"), int)
    assert stats == {"healthy_services": 1, "host_distribution": {"127.0.0.1": 1, "localhost": 1}, "total_services": 2,
                     "status_distribution": {"running": 1, "starting": 1}, "unhealthy_services": 1}
    listed = r.get("/services")
    assert set(listed) == {"services", "timestamp", "total"} and listed["total"] == 2
    assert listed["services"] == [r.get("/services/a"), r.get("/services/b")]
    assert set(listed["services"][0]) == {"name", "host", "hostname", "url", "status", "port", "metadata", "timestamp",
                                          "last_heartbeat", "health_status", "is_healthy"}
    beat = r.ask("POST", "/services/a/heartbeat").json()
    assert TS.fullmatch(beat.pop("timestamp")) and beat == {"message": "Heartbeat received"}
    one = r.get("/services/a/health")
    assert TS.fullmatch(one.pop("timestamp")) and isinstance(one.pop("last_heartbeat"), float)
    assert one == {"health_status": "unhealthy", "is_healthy": True, "service": "a"}  # nobody listens on 6001
    assert r.ask("DELETE", "/services/a").json() == {"message": "Service 'a' unregistered successfully"}
    assert r.names() == ["b"]


def test_sorted_by_name_in_bytes(bench):
    r = bench.registry()
    for name in ("b", "a", "é", "A", "a/b", "a b", "10", "9"):
        r.register(name)
    names = r.names()
    assert names == sorted(names, key=str.encode)


def test_unknown_names(bench):
    r = bench.registry()
    for method, target in (("GET", "/services/x"), ("DELETE", "/services/x"), ("GET", "/services/x/health"),
                           ("POST", "/services/x/heartbeat")):
        assert "'x'" in assert_fault(r.ask(method, target), 404, "service_not_found")
    assert_fault(r.ask("PUT", "/services/x", {}), 404, "service_not_found")


@pytest.mark.parametrize("query, names", [
    ("", ["down", "other", "up"]), ("?healthy=true", ["up"]), ("?healthy=1", ["up"]), ("?healthy=YES", ["up"]),
    ("?healthy=false", ["down", "other"]), ("?healthy=0", ["down", "other"]), ("?healthy=No", ["down", "other"]),
    ("?status=running", ["up"]), ("?status=Running", []), ("?status=not%20well", ["other"]),
    ("?status=not+well", ["other"]), ("?status=", []), ("?status=not+well&healthy=true", []),
    ("?status=stopped&healthy=false", ["down"]), ("?x=1&x=2&healthy=tRuE", ["up"]), ("?", ["down", "other", "up"]),
    ("?&&", ["down", "other", "up"]), ("?he%61lthy=true", ["up"]), ("?Healthy=true", ["down", "other", "up"]),
    ("?%zz=1", ["down", "other", "up"]),
])
def test_filters(bench, query, names):
    r = bench.registry()
    r.register("up")
    r.register("down", status="stopped")
    r.register("other", status="not well")
    listed = r.get("/services" + query)
    assert [s["name"] for s in listed["services"]] == names and listed["total"] == len(names)


@pytest.mark.parametrize("query, param", [
    ("healthy=", "healthy"), ("healthy", "healthy"), ("healthy=maybe", "healthy"), ("healthy=2", "healthy"),
    ("healthy=true&healthy=true", "healthy"), ("status=a&status=a", "status"), ("status=%", "status"),
    ("status=%ff", "status"), ("healthy=%zz", "healthy"), ("status=&status=", "status"),
])
def test_filters_refused(bench, query, param):
    assert_fault(bench.registry().ask("GET", f"/services?{query}"), 400, "invalid_query", param)


@pytest.mark.parametrize("field", ["name", "host", "hostname", "url", "status", "port"])
def test_required_fields(bench, field):
    r = bench.registry()
    for value in (None, "null"):
        body = record()
        body.pop(field) if value is None else body.update({field: None})
        assert_fault(r.ask("POST", "/services", body), 422, "invalid_field", field)
    assert r.names() == []


LIMITS = {"name": 256, "host": 253, "hostname": 253, "status": 253, "url": 2048}


@pytest.mark.parametrize("field", LIMITS)
def test_text_at_its_limit_and_beyond(bench, field):
    r = bench.registry(alias=True)  # where host and url may be anything
    longest = "x" * LIMITS[field]
    assert r.register(**{field: longest})["service"][field] == longest
    for bad in (longest + "x", "", "a\nb", "a\0b", "\x7f", "a\x85b", 7, True, [], {}):
        assert_fault(r.ask("POST", "/services", record(**{field: bad})), 422, "invalid_field", field)
    assert r.register(**{field: "é" * (LIMITS[field] // 2)})["service"][field] == "é" * (LIMITS[field] // 2)


@pytest.mark.parametrize("port", ["6001", 6001.0, -1, 65536, True, [], 1e3])
def test_ports_that_are_none(bench, port):
    r = bench.registry()
    assert_fault(r.ask("POST", "/services", record(port=port)), 422, "invalid_field", "port")
    r.register()
    assert_fault(r.ask("PUT", "/services/svc", {"port": port}), 422, "invalid_field", "port")


def test_ports_at_their_limits(bench):
    """0..65535, but an openai-api record needs room for its babysitter."""
    r = bench.registry()
    for port in (0, 65535):
        assert r.register(port=port)["service"]["port"] == port
    api = {"type": "openai-api"}
    assert r.register(port=65534, metadata=api)["service"]["port"] == 65534
    assert_fault(r.ask("POST", "/services", record(port=65535, metadata=api)), 422, "invalid_field", "port")
    assert_fault(r.ask("PUT", "/services/svc", {"port": 65535}), 422, "invalid_field", "port")
    assert r.ask("PUT", "/services/svc", {"port": 65535, "metadata": {}}).status == 200
    assert_fault(r.ask("PUT", "/services/svc", {"metadata": api}), 422, "invalid_field", "port")


def test_optional_fields(bench):
    """timestamp: string or null, ours is kept; metadata: absent is {}, null is 422; unknown keys are ignored."""
    r = bench.registry()
    service = r.register(timestamp="1999-01-01T00:00:00Z", more={"x": 1})["service"]
    assert service["timestamp"] > "2020" and service["metadata"] == {} and "more" not in service
    assert r.ask("POST", "/services", {**record(), "timestamp": None}).status == 201
    assert_fault(r.ask("POST", "/services", {**record(), "timestamp": 5}), 422, "invalid_field", "timestamp")
    for metadata in (None, [], "x", 1):
        assert_fault(r.ask("POST", "/services", {**record(), "metadata": metadata}), 422, "invalid_field", "metadata")


def test_metadata_comes_back_whole(bench):
    """Numbers in the contract's form, keys sorted at every level, text raw."""
    r = bench.registry()
    body = json.dumps(record()).encode()[:-1] + (
        b', "metadata": {"z":[1795208933.0, 1e-6,0.000757807,1E16, 0.00001,-0, 18446744073709551615,-9223372036854775808],'
        b'"b":{"y":1,"x":{"b":null,"a":true}},"a":"\\u00e9\\/\\n\\u0001 \xc3\xa9","":{}}}')
    reply = r.ask("POST", "/services", body=body, headers=JSON)
    assert reply.status == 201, reply
    assert (b'"metadata":{"":{},"a":"\xc3\xa9/\\n\\u0001 \xc3\xa9","b":{"x":{"a":true,"b":null},"y":1},"z":[1795208933.0,1e-6,'
            b'0.000757807,1e+16,0.00001,-0.0,18446744073709551615,-9223372036854775808]}') in reply.body


def test_metadata_at_its_limit_and_beyond(bench):
    r = bench.registry()
    frame = len('{"k":""}')
    limit = 256 * 1024
    assert r.register(metadata={"k": "x" * (limit - frame)})
    assert_fault(r.ask("POST", "/services", record(metadata={"k": "x" * (limit - frame + 1)})), 422, "invalid_field",
                 "metadata")


@pytest.mark.parametrize("given, metadata, weight", [
    (None, {}, None), (5, {}, 5), (0, {"weight": 3}, 0), (1000000, {}, 1000000), (None, {"weight": 3}, 3),
    (1000001, {"weight": 3}, 3), (-1, {}, None), ("5", {}, None), (2.5, {"weight": True}, None), (None, {"weight": -1}, None),
])
def test_weights(bench, given, metadata, weight):
    """Top level, else metadata; another type or range is ignored with one WARN."""
    r = bench.registry()
    service = r.register(metadata=metadata, **({} if given is None else {"weight": given}))["service"]
    assert service.get("weight") == weight and ("weight" in service) == (weight is not None)
    assert service["metadata"] == metadata
    odd = any(w not in (None, 5, 0, 3, 1000000) or isinstance(w, (bool, float)) for w in (given, metadata.get("weight")))
    assert until(lambda: r.log().count("\n") >= 2 and ("WARN" in r.log()) == odd, "the warning, or none")


def test_registering_again_replaces(bench):
    r = bench.registry()
    r.register(metadata={"old": 1}, weight=4)
    r.get("/services/svc/health")
    assert r.get("/services/svc")["health_status"] == "unhealthy"
    again = r.register(port=7000, status="starting")["service"]
    assert again["port"] == 7000 and again["metadata"] == {} and "weight" not in again
    assert again["health_status"] == "unknown" and again["is_healthy"] is False
    assert r.names() == ["svc"]


def test_put(bench):
    """Any field; null or absent leaves it; metadata is replaced, not merged; the name is ignored."""
    r = bench.registry()
    before = r.register(metadata={"a": 1, "weight": 2})["service"]
    reply = r.ask("PUT", "/services/svc", {"name": "other", "status": None, "host": None, "port": 7, "metadata": None})
    assert reply.status == 200 and reply.json()["message"] == "Service 'svc' updated successfully"
    after = reply.json()["service"]
    assert after == {**before, "port": 7, "last_heartbeat": after["last_heartbeat"]} == r.get("/services/svc")
    after = r.ask("PUT", "/services/svc", {"metadata": {"b": 2}, "status": "x", "weight": 9}).json()["service"]
    assert after["metadata"] == {"b": 2} and after["weight"] == 9 and after["is_healthy"] is False
    assert r.names() == ["svc"] and after["timestamp"] == before["timestamp"]
    assert_fault(r.ask("PUT", "/services/svc", {"metadata": 1}), 422, "invalid_field", "metadata")
    assert_fault(r.ask("PUT", "/services/svc", []), 422, "invalid_field")
    assert_fault(r.ask("PUT", "/services/svc", {"host": "10.0.0.1"}), 403, "host_not_allowed", "host")


@pytest.mark.parametrize("body, kind, status", [
    (b'{"status":"busy"}', "application/json", "busy"), (b'{ "status" : "busy" }', "application/json; charset=utf-8", "busy"),
    (b'{"status":"busy"}', "application/vnd.x+json", "busy"), (b'{"status":"busy"}', "text/plain", "running"),
    (b'{"status":"busy"}', None, "running"), (b"not json", "application/json", "running"), (b"", "application/json", "running"),
    (b"[]", "application/json", "running"), (b'{"status":1}', "application/json", "running"),
    (b'{"status":""}', "application/json", "running"), (b'{"status":"a\\nb"}', "application/json", "running"),
    (b'{"status":"a","status":"b"}', "application/json", "running"), (b"\x00\xff", "application/octet-stream", "running"),
])
def test_heartbeat_bodies(bench, body, kind, status):
    r = bench.registry()
    r.register()
    reply = r.ask("POST", "/services/svc/heartbeat", body=body, headers={"content-type": kind} if kind else {})
    assert reply.status == 200 and r.get("/services/svc")["status"] == status


def test_names_in_paths(bench):
    """Segments are percent-decoded; no slash is normalised; invalid UTF-8 is 400."""
    r = bench.registry()
    r.register("a/b c%é")
    for escaped in ("a%2Fb%20c%25%C3%A9", "a%2fb%20c%25%c3%a9"):
        assert r.get(f"/services/{escaped}")["name"] == "a/b c%é"
    assert_fault(r.ask("GET", "/services/%ff"), 400, "invalid_path")
    assert_fault(r.ask("GET", "/services/%zz/health"), 400, "bad_request")  # HTTP's own grammar
    for target in ("/services/", "/services//health", "/services/a/b", "/services/a/health/", "/Services", "/", "/servicesx",
                   "/services/a/heartbeat/x", "/health/"):
        assert_fault(r.ask("GET", target), 404, "not_found")


def test_methods(bench):
    """HEAD where GET is; 405 with allow elsewhere."""
    r = bench.registry()
    r.register()
    for target in ("/health", "/services", "/stats", "/services/svc", "/services/svc/health", "/metrics", "/_inferd/metrics"):
        head = r.ask("HEAD", target)
        assert head.status == 200 and head.body == b"" and int(head["content-length"]) > 0
    for method, target, allow in (("POST", "/health", "GET, HEAD"), ("DELETE", "/services", "GET, HEAD, POST"),
                                  ("PATCH", "/services/svc", "GET, HEAD, PUT, DELETE"), ("OPTIONS", "/stats", "GET, HEAD"),
                                  ("GET", "/services/svc/heartbeat", "POST"), ("PUT", "/services", "GET, HEAD, POST"),
                                  ("post", "/services", "GET, HEAD, POST")):
        reply = r.ask(method, target)
        assert_fault(reply, 405, "method_not_allowed")
        assert reply["allow"] == allow


def test_content_types(bench):
    """415 for POST and PUT of records only."""
    r = bench.registry()
    body = json.dumps(record()).encode()
    for kind in ("application/json", "Application/JSON; charset=utf-8", "application/x+json", "application/problem+JSON;q=1"):
        assert r.ask("POST", "/services", body=body, headers={"content-type": kind}).status == 201
    for kind in (None, "text/json", "application/jsonx", "application/+json", "json", "application/x-www-form-urlencoded"):
        headers = {"content-type": kind} if kind else {}
        assert_fault(r.ask("POST", "/services", body=body, headers=headers), 415, "unsupported_media_type")
        assert_fault(r.ask("PUT", "/services/svc", body=b"{}", headers=headers), 415, "unsupported_media_type")


@pytest.mark.parametrize("body", [
    b"", b"{", b"nope", b'{"a":1,}', b"{'a':1}", b"\xff", b'{"a":"\xff"}', b'\xef\xbb\xbf{}', b'{"name":"a","name":"a"}',
    b'{"x":{"y":1,"y":2}}', b"[" * 65 + b"]" * 65, b'{"x":1e400}', b"{} {}", b'{"a":"\\ud800"}', b'{"a":01}', b"NaN",
])
def test_bodies_that_are_no_json(bench, body):
    r = bench.registry()
    assert_fault(r.ask("POST", "/services", body=body, headers=JSON), 400, "invalid_json")
    assert_fault(r.ask("PUT", "/services/nobody", body=body, headers=JSON), 400, "invalid_json")


def test_depth_at_its_limit(bench):
    r = bench.registry()
    deep = json.dumps(record()).encode()[:-1] + b',"x":' + b"[" * 63 + b"]" * 63 + b"}"
    assert r.ask("POST", "/services", body=deep, headers=JSON).status == 201
    deeper = json.dumps(record()).encode()[:-1] + b',"x":' + b"[" * 64 + b"]" * 64 + b"}"
    assert_fault(r.ask("POST", "/services", body=deeper, headers=JSON), 400, "invalid_json")


def test_sizes_at_their_limit_and_beyond(bench):
    r = bench.registry()
    limit = 2 * 1024 * 1024
    body = json.dumps(record()).encode()
    assert r.ask("POST", "/services", body=body.ljust(limit), headers=JSON).status == 201
    assert_fault(r.ask("POST", "/services", body=body.ljust(limit + 1), headers=JSON), 413, "payload_too_large")
    with raw.Connection(r.address) as c:  # a lot is announced: refused before it is sent
        c.send(b"POST /services HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9999999999\r\n\r\n")
        assert_fault(c.reply(), 413, "payload_too_large")
    with raw.Connection(r.address) as c:  # found out on the way
        c.send(b"POST /services HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(limit // 65536 + 1):
            c.send(b"10000\r\n" + b" " * 65536 + b"\r\n")
        c.send(b"0\r\n\r\n")
        assert_fault(c.reply(), 413, "payload_too_large")
    assert_fault(r.ask("POST", "/services/svc/heartbeat", body=b"x" * (limit + 1)), 413, "payload_too_large")
    assert r.names() == ["svc"]


def test_chunked_and_without_a_length(bench):
    r = bench.registry()
    body = json.dumps(record()).encode()
    with raw.Connection(r.address) as c:
        c.send(b"POST /services HTTP/1.1\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
               + b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n")
        assert c.reply().status == 201  # and no Host was sent
        c.send(b"POST /services/svc/heartbeat HTTP/1.1\r\n\r\n")
        assert c.reply().status == 200
        c.send(b"POST /services HTTP/1.1\r\ncontent-type: application/json\r\n\r\n")
        assert_fault(c.reply(), 400, "invalid_json")  # an empty body, never 411
        c.send(b"GET http://anybody.example/services/svc HTTP/1.1\r\n\r\n")
        assert c.reply("GET").status == 200
    with raw.Connection(r.address) as c:
        c.send(b"GET /services/svc HTTP/1.0\r\n\r\n")
        assert c.reply("GET").json()["name"] == "svc" and c.end() == "fin"


def test_expect(bench):
    """100 at once, or the final error if that is certain."""
    r = bench.registry()
    body = json.dumps(record()).encode()
    head = b"HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: %d\r\n" % len(body)
    with raw.Connection(r.address) as c:
        c.send(b"POST /services " + head + b"content-type: application/json\r\n\r\n")
        assert c.head().status == 100
        c.send(body)
        assert c.reply().status == 201
    for line, status in ((b"POST /services ", 415), (b"POST /nope ", 404), (b"POST /health ", 405)):
        with raw.Connection(r.address) as c:
            c.send(line + head + b"\r\n")
            assert c.head().status == status


def test_order_of_checks(bench):
    """path and method, token, content type, size, syntax, fields, existence, policy, capacity."""
    token = bench.path("token")
    with open(token, "w", encoding="utf-8") as f:
        f.write("secret\n")
    os.chmod(token, 0o600)
    r = bench.registry(args=["--registry-token-file", token, "--max-services", "1"])
    key = {"authorization": "Bearer secret"}
    typed = {**key, **JSON}
    big = b" " * (2 * 1024 * 1024 + 1)
    away = record(host="10.0.0.1")
    steps = [
        ("PUT", "/services", {}, b"x", 405), ("PUT", "/nope", {}, b"x", 404), ("PUT", "/services/%ff", {}, b"x", 400),
        ("PUT", "/services/x", {}, big, 401), ("PUT", "/services/x", key, big, 415), ("PUT", "/services/x", typed, big, 413),
        ("PUT", "/services/x", typed, b"{", 400), ("PUT", "/services/x", typed, b'{"port":"x","host":"10.0.0.1"}', 422),
        ("PUT", "/services/x", typed, b'{"host":"10.0.0.1"}', 404),
        ("POST", "/services", typed, json.dumps(record("a")).encode(), 201),
        ("PUT", "/services/a", typed, b'{"host":"10.0.0.1"}', 403),
        ("POST", "/services", typed, json.dumps({**away, "port": "x"}).encode(), 422),
        ("POST", "/services", typed, json.dumps(away).encode(), 403),
        ("POST", "/services", typed, json.dumps(record("b")).encode(), 503),
        ("POST", "/services", typed, json.dumps(record("a")).encode(), 201),
    ]
    for method, target, headers, body, status in steps:
        reply = r.ask(method, target, body=body, headers=headers)
        assert reply.status == status, (method, target, body[:50], reply)
    full = r.ask("POST", "/services", body=json.dumps(record("b")).encode(), headers=typed)
    assert_fault(full, 503, "table_full")
    assert full["retry-after"] is not None


def test_keep_alive_and_pipelining(bench):
    r = bench.registry()
    with raw.Connection(r.address) as c:
        body = json.dumps(record()).encode()
        c.send(c.format("POST", "/services", body, JSON) + c.format("POST", "/services/svc/heartbeat")
               + c.format("GET", "/services/svc") + c.format("DELETE", "/services/svc") + c.format("GET", "/services/svc"))
        assert [c.reply().status for _ in range(5)] == [201, 200, 200, 200, 404]


def test_metrics(bench):
    r = bench.registry()
    r.register()
    r.ask("POST", "/services/svc/heartbeat")
    for target in ("/metrics", "/_inferd/metrics"):
        reply = r.ask("GET", target)
        assert reply["content-type"].startswith("text/plain; version=0.0.4")
        text = reply.body.decode()
        for line in ("inferd_registry_services 1", "inferd_registry_healthy_services 1", "inferd_registry_registrations_total 1",
                     "inferd_registry_heartbeats_total 1",
                     'inferd_registry_requests_total{endpoint="services",class="2xx"} 1'):
            assert f"\n{line}\n" in text, line


def test_a_slow_client_delays_nobody(bench):
    r = bench.registry()
    slow = [raw.Connection(r.address) for _ in range(50)]
    for c in slow:
        c.send(b"POST /services HTTP/1.1\r\nhost: x\r\ncontent-le")
    for _ in range(20):
        r.register()
    for c in slow:
        c.close()


def test_the_log(bench):
    """`registered` at INFO, in the form of the contract; text from outside is escaped, nothing secret is there."""
    r = bench.registry()
    r.ask("POST", "/services?token=q-secret", record("a b", metadata={"key": "m-secret"}),
          headers={"authorization": "Bearer h-secret", "cookie": "c-secret"})
    assert r.ask("POST", "/services", record("x\u202ey\u009bz")).status == 422  # a control character
    r.register("x\u202ey")
    until(lambda: r.log().count("registered") >= 2, "both lines")
    line = next(x for x in r.log().splitlines() if "registered" in x)
    assert re.fullmatch(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z  INFO inferd::registry: registered name="a b" host=127.0.0.1 '
                        r"port=6001 status=running peer=127.0.0.1:\d+", line), line
    assert "secret" not in r.log() and "\u202e" not in r.log() and "\x1b" not in r.log()


def test_numbers_of_a_probe_target_are_not_ours(bench):
    """The registry listens where it says: the chosen port is in the log and in the ready file."""
    r = bench.registry()
    r.wait_log(f"listening address={r.address}")
    host, _, port = r.address.rpartition(":")
    with socket.create_connection((host, int(port))):
        pass


def test_the_page_has_every_metric(bench):
    bench.registry().check_page("registry.md")
