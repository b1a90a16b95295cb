# SPDX-License-Identifier: Apache-2.0
"""What the fault rows share: a gateway with scaled limits, its vital signs, and docs/faults.md.

Each row of the table is written by the full length of its test through record(), which keeps the
other rows: `make fault` writes all of them anew."""

import os
import platform
import re
import time

from harness.tree import PROGRAM
from harness.wait import SLOW, until

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DOCUMENT = os.path.join(TOP, "docs", "faults.md")

# A system call that the gateway may not make ends it, so that no row overlooks one.
SANDBOXED = {"INFERD_SANDBOX": "kill"}
# The short rows' limits; what a row needs comes on top.
LIMITS = {"head_ms": 1000, "stall_ms": 2000, "drain_delay_ms": 300, "drain_ms": 2000}
SLACK = 5  # a short row asserts a time only as a deadline, this much wider


def mock_engine(name, models=("tiny",), args=(), at="${PORT}", **keys):
    """A row of [[engine]]: `inferd mock` under supervision."""
    where = ["--socket", at] if at == "${SOCKET}" else ["--port", at]
    command = [PROGRAM, "mock", "--name", name, *where, "--models", ",".join(models), *map(str, args)]
    return {"name": name, "command": command, "models": list(models), "stop_grace_ms": 300, **keys}


def config(engines=(), remotes=(), **limits):
    made = {"limits": {**LIMITS, **limits}}
    if engines:
        made["engine"] = list(engines)
    if remotes:
        made["remote"] = list(remotes)
    return made


def remote(name, url, models=("tiny",), **keys):
    return {"name": name, "url": url, "models": list(models), **keys}


# vital signs


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def rss_kb(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as f:
        return int(re.search(r"VmRSS:\s+(\d+) kB", f.read()).group(1))


def load_of(gateway):
    """Requests the gateway believes to carry: in the lanes, on engines, in the queue."""
    wanted = ("inferd_requests_in_flight", "inferd_engine_in_flight", "inferd_waiting")
    return sum(v for k, v in gateway.metrics().items() if k.partition("{")[0] in wanted)


def wait_idle(gateway, seconds=1.0):
    """Every slot and queue place is free again; returns how long that took."""
    began = time.monotonic()
    until(lambda: load_of(gateway) == 0, "no request is left", seconds, every=0.002)
    return time.monotonic() - began


def wait_descriptors(pid, most, seconds=5.0):
    """Back at what it had; closing is done at the end of a loop's turn, hence the wait."""
    until(lambda: descriptors(pid) <= most, f"at most {most} descriptors", seconds)
    return descriptors(pid)


# the document

ABOUT = """# Faults

What was broken on purpose, how often, and what came of it: the rows of the fault tests at full
length, written by `make fault` on the release build ({machine}; load, engines and gateway share it).
Counts are asserted by the same scripts, in `test/fault/`; times are what this machine gave. Every
gateway ran with its system-call filter set to kill, so a forbidden call would have shown.

| row | what was done | minimum | moonshot | measured | verdict | what stands in the way |
|---|---|---|---|---|---|---|
"""


def _machine():
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        models = re.findall(r"model name\s*: (.*)", f.read())
    with open("/proc/meminfo", encoding="utf-8") as f:
        gib = int(re.search(r"MemTotal:\s+(\d+)", f.read()).group(1)) / (1 << 20)
    processor = models[0].strip() if models else platform.machine()
    return f"{os.cpu_count()} x {processor}, {gib:.0f} GiB, Linux {platform.release().split('-')[0]}"


def _rows():
    try:
        with open(DOCUMENT, encoding="utf-8") as f:
            return {int(m.group(1)): line for line in f if (m := re.match(r"\| R(\d+) ", line))}
    except FileNotFoundError:
        return {}


def record(row, done, minimum, moonshot, measured, reached, obstacle=""):
    """One line of docs/faults.md. `reached`: "moonshot", "minimum" or "missed"; anything but the
    moonshot has an obstacle."""
    assert reached in ("moonshot", "minimum", "missed") and (reached == "moonshot" or obstacle)
    cells = (f"R{row}", done, minimum, moonshot, measured, reached, obstacle or "nothing")
    rows = _rows()
    rows[row] = "| " + " | ".join(c.replace("|", "/").replace("\n", " ") for c in cells) + " |\n"
    os.makedirs(os.path.dirname(DOCUMENT), exist_ok=True)
    with open(DOCUMENT + ".new", "w", encoding="utf-8") as f:
        f.write(ABOUT.format(machine=_machine()))
        f.writelines(rows[n] for n in sorted(rows))
    os.rename(DOCUMENT + ".new", DOCUMENT)
    print(f"R{row}: {measured} ({reached})", flush=True)


def ms(seconds):
    return f"{seconds * 1000:.0f} ms" if seconds >= 0.01 else f"{seconds * 1000:.1f} ms"
