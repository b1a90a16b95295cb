# SPDX-License-Identifier: Apache-2.0
"""docs/performance.md out of the figures: tables, ratios, and each budget beside what was measured. A part
that was not measured in this run is left out and named at the end."""

import os
import platform
import re
import subprocess

import rig

NAMES = ["inferd", "nginx", "HAProxy", "floor"]
NOTES = "docs/performance-notes.md"


def first_line(command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return "absent"
    return (done.stdout + done.stderr).strip().split("\n")[0]


def grouping():
    """Whether each session is a group of its own to the scheduler: a relay then waits longer for its turn."""
    try:
        with open("/proc/sys/kernel/sched_autogroup_enabled", encoding="utf-8") as f:
            return f"sched_autogroup_enabled={f.read().strip()}"
    except OSError:
        return "no sched_autogroup"


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        cpu = re.search(r"model name\s*: (.*)", f.read())
    with open("/etc/os-release", encoding="utf-8") as f:
        system = re.search(r'PRETTY_NAME="(.*)"', f.read()).group(1)
    versions = [re.sub(r".*version:? *", "", first_line(["nginx", "-v"])), re.sub(r" .*", "", re.sub(
        r"HAProxy version ", "HAProxy/", first_line(["haproxy", "-v"]))), re.sub(r" \[.*", "", first_line(["wrk", "-v"]))]
    return (f"{os.cpu_count()} cores ({cpu.group(1) if cpu else platform.machine()}), Linux "
            f"{re.match(r'[0-9.]+', platform.release()).group(0).rstrip('.')} with {grouping()}, {system}, "
            f"{', '.join(versions)}")


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(str(c) for c in row) + " |" for row in rows]) + "\n"


def times(value, base):
    return f"{value / base:.2f}" if base else "-"


class Budgets:
    def __init__(self):
        self.rows = []

    def add(self, what, budget, measured, met):
        self.rows.append([what, budget, measured, "met" if met else "**missed**"])

    def at_most(self, what, limit, value, unit, digits=1):
        self.add(what, f"<= {limit:.{digits}f} {unit}", f"{value:.{digits}f} {unit}", value <= limit)


def chat_section(figures, budgets):
    text = []
    for key, title in [("chat_tcp", "engine over TCP"), ("chat_unix", "engine over a Unix socket"),
                       ("body_tcp", "64 KB prompts, engine over TCP")]:
        if key not in figures:
            continue
        for c, found in figures[key].items():
            nginx = found["nginx"]["cpu"]
            text.append(f"\n### Non-streaming, {title}, {c} connection{'s' if int(c) > 1 else ''}\n\n" + table(
                ["", "CPU us a request", "user / kernel", "x nginx", "requests a second"],
                [[n, f"{f['cpu']:.1f}", f"{f['user']:.1f} / {f['system']:.1f}", times(f["cpu"], nginx), f"{f['rate']:,.0f}"]
                 for n, f in ((n, found[n]) for n in NAMES)]))
            if key != "body_tcp":
                budgets.at_most(f"request, {title}, {c} connections: CPU <= nginx", nginx, found["inferd"]["cpu"], "us")
                if int(c) == 10:
                    budgets.at_most(f"request, {title}: user space", 3.0, found["inferd"]["user"], "us")
    if figures.get("syscalls"):
        text.append("\n### System calls a request (10 connections, counted by perf)\n\n" + table(
            ["", "calls"], [[n, f"{figures['syscalls'][n]:.2f}"] for n in NAMES]))
        budgets.at_most("request: system calls", 4.3, figures["syscalls"]["inferd"], "", 2)
    return "".join(text)


def sse_section(figures, budgets):
    text = []
    for key, title in [("sse_tcp", "engine over TCP"), ("sse_unix", "engine over a Unix socket")]:
        found = figures.get(key)
        if not found:
            continue
        text.append(f"\n### Event streams, {title}: 50 streams, a chunk every 10 ms each\n\n" + table(
            ["", "CPU us a chunk", "user / kernel", "x floor", "delay p50 us", "p99", "p99.9"],
            [[n, f"{f['cpu']:.1f}" if n != "direct" else "-", f"{f['user']:.1f} / {f['system']:.1f}" if n != "direct" else "-",
              times(f["cpu"], found["floor"]["cpu"]) if n != "direct" else "-", f"{f['p50']:.0f}", f"{f['p99']:.0f}",
              f"{f['p99.9']:.0f}"] for n, f in ((n, found[n]) for n in [*NAMES, "direct"])]))
        ours = found["inferd"]
        budgets.at_most(f"chunk, {title}: CPU <= floor + 2 us", found["floor"]["cpu"] + 2, ours["cpu"], "us")
        budgets.at_most(f"chunk, {title}: CPU <= nginx", found["nginx"]["cpu"], ours["cpu"], "us")
        budgets.at_most(f"chunk, {title}: CPU <= HAProxy", found["HAProxy"]["cpu"], ours["cpu"], "us")
        budgets.at_most(f"chunk, {title}: user space", 1.0, ours["user"], "us")
        budgets.at_most(f"chunk, {title}: delay p99, engine to client", 100, ours["p99"], "us", 0)
    if text:
        text.append("\nDelay: from the engine's stamp just before its write to the client's clock just behind its read, one "
                    "machine, one clock. *direct* is the same without a gateway.\n")
    return "".join(text)


def router_section(figures, budgets):
    """The fabric's router beside `inferd up`, in the same rounds."""
    rows, names = [], ["inferd", "inferd router", "nginx", "floor"]
    for key, what in [("router_chat", "a request, 10 connections"), ("router_sse", "a chunk of 50 streams")]:
        found = figures.get(key)
        if not found:
            continue
        found = found["10"] if key == "router_chat" else found
        rows.append([what, *(f"{found[n]['cpu']:.1f} ({found[n]['user']:.1f} / {found[n]['system']:.1f})" for n in names),
                     times(found["inferd router"]["cpu"], found["inferd"]["cpu"])])
        budgets.at_most(f"router, {what}: CPU <= that of `inferd up` + 5 %", found["inferd"]["cpu"] * 1.05,
                        found["inferd router"]["cpu"], "us")
    if not rows:
        return ""
    return ("\n### `inferd router` beside `inferd up`\n\nCPU us, of it user and kernel. `inferd up` checks a key, the router writes "
            "the two log lines of a request that its contract asks for.\n\n"
            + table(["", *names, "router / up"], rows))


def memory_section(figures, budgets):
    rows, text = [], []
    idle = figures.get("idle_engines")
    if idle:
        mb = idle["pss_kb"] / 1024
        text.append(f"\n### Memory\n\nIdle with {idle['engines']} engines: {mb:.2f} MB (Pss of {idle['processes']} "
                    "processes).\n")
        budgets.at_most(f"idle memory with {idle['engines']} engines", 6, mb, "MB", 2)
    for key, title, limit in [("idle_connections", "idle client connection", 1), ("open_streams", "open stream", 12)]:
        if key in figures:
            n, found = figures[key]
            rows.append([f"each of {n:,} {title}s, kB", *(f"{found[g]:.2f}" for g in NAMES)])
            budgets.at_most(f"memory of an {title}", limit, found["inferd"], "kB", 2)
    if "stalled_readers" in figures:
        n, found = figures["stalled_readers"]
        rows.append([f"each of {n:,} readers that never read: our memory, kB", *(f"{found[g]['user']:.1f}" for g in NAMES)])
        rows.append(["the kernel's for it, both sockets, kB", *(f"{found[g]['kernel']:.1f}" for g in NAMES)])
    if rows:
        text.append("\n" + table(["", *NAMES], rows))
    return "".join(text)


def time_section(figures, budgets):
    rows = []
    for key, title, limit in [("start", "start of `inferd up` to its first answer", 50),
                              ("ready", "engine listens to the end of the first request that waited for it", 10)]:
        if key in figures:
            f = figures[key]
            rows.append([title, f"{f['median']:.1f}", f"{f['max']:.1f}", f["n"]])
            budgets.at_most(title + " (median)", limit, f["median"], "ms")
    return "\n### Times\n\n" + table(["", "median ms", "max ms", "runs"], rows) if rows else ""


def select_section(figures, budgets):
    if not figures.get("select"):
        return ""
    for fleet, us, limit in figures["select"]:
        budgets.at_most(f"select(), 10,000 engines, {fleet}", limit, us, "us", 2)
    return ("\n### Selection\n\nLooking up the model, choosing and reserving among 10,000 engines (`bench/select_bench.c`).\n\n"
            + table(["fleet", "us"], [[fleet, f"{us:.2f}"] for fleet, us, _ in figures["select"]]))


def callgrind_section(figures):
    if not figures.get("instructions"):
        return ""
    return ("\n### Instructions\n\nIn user space, counted by callgrind on the simulation (`test/sim/count`): the same build gives "
            "the same count, whatever else the machine does.\n\n"
            + table(["one more", "instructions of src/", "of the C library below it"],
                    [[what, f"{ours:,.0f}", f"{libc:,.0f}"] for what, ours, libc in figures["instructions"]]))


def notes():
    path = f"{rig.ROOT}/{NOTES}"
    if not os.path.exists(path):
        return ""
    with open(path, encoding="utf-8") as f:
        return "\n" + f.read()


def busy(figures):
    """How loaded the machine was when each part began; our own load is 3 at most, of an engine, a gateway and a client."""
    load = figures.get("load")
    if not load:
        return ""
    quiet = max(load) <= 3.5
    return (f"\n\nLoad average when the parts began: {min(load):.1f} to {max(load):.1f}" +
            (", which is this benchmark's own." if quiet else
             ". **The machine was busy with other work**: ratios hold, absolute figures and delays are worse than they are."))


def write(figures, path, settings):
    budgets = Budgets()
    body = "".join([chat_section(figures, budgets), sse_section(figures, budgets), router_section(figures, budgets),
                    memory_section(figures, budgets),
                    time_section(figures, budgets), select_section(figures, budgets), callgrind_section(figures)])
    text = f"""# Performance

Written by `make bench` ({settings}); release build, all contenders of a part in turns on one machine: {machine()}.

Ratios travel, absolute figures do not: between two runs on a machine of this kind the same program differs by
10 to 18 %. So every contender runs in every round, in turns, and what stands here is the median over the
rounds. Each gateway has one worker thread and keep-alive to the engine; nginx and HAProxy write no access
log, inferd writes its own to a file and does everything it always does. `floor` is `bench/floor.c`, a relay of
bytes that knows no HTTP. CPU is that of the whole process tree, user and kernel, divided by what the load counted.
Load: wrk for requests, `inferd bench` for streams. Engine: nginx with one static completion of 350 bytes
for small requests, `inferd mock` for long prompts and streams.{busy(figures)}

## Budgets

{table(["what", "budget", "measured", ""], budgets.rows)}
## Figures
{body}{notes()}"""
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    return budgets.rows
