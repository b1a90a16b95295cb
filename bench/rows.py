# SPDX-License-Identifier: Apache-2.0
"""The measurements. Each returns plain figures; what they mean for a budget is report.py's business.

Comparisons run all contenders in each round, one after the other, and take the median over the
rounds: what disturbs the machine for a while disturbs all of them."""

import json
import os
import re
import socket
import subprocess
import time

import contenders
import rig

STREAMS = 50
STREAM_STARTS = 487  # a second: streams begin apart, so that their events do not come in bursts
SENTENCE = len("Hello from engine (model: tiny)")
CHUNKS_A_SECOND = 100


class Conf:
    def __init__(self, program, floor, folder, rounds, seconds):
        self.program, self.floor, self.folder = program, floor, folder
        self.rounds, self.seconds = rounds, seconds
        self.files = rig.raise_descriptors()


def side_by_side(conf, gateways, measure):
    """{title: {figure: median}} of measure(gateway) -> {figure: value} over all rounds."""
    samples = {g.title: [] for g in gateways}
    for n in range(conf.rounds):
        for g in gateways[n % len(gateways):] + gateways[:n % len(gateways)]:
            samples[g.title].append(measure(g))
    found = {title: {key: rig.median([s[key] for s in rows]) for key in rows[0]} for title, rows in samples.items()}
    for title, rows in samples.items():  # ticks are too coarse to split one round
        user, system = sum(s["user"] for s in rows), sum(s["system"] for s in rows)
        share = user / (user + system) if user + system else 0
        found[title].update(user=found[title]["cpu"] * share, system=found[title]["cpu"] * (1 - share))
    return found


def start_all(conf, upstream, tag, kinds):
    return [kind(conf, upstream, tag) for kind in kinds]


def stop_all(processes):
    for p in processes:
        p.stop()


# ---- CPU and speed ----


def chat(conf, upstream, tag, connections, prompt_bytes=16, kinds=contenders.ALL):
    """Small completions (or long prompts) at each number of connections."""
    wrk = rig.Wrk(conf.folder, prompt_bytes)
    gateways = start_all(conf, upstream, tag, kinds)
    found = {}
    try:
        for g in gateways:
            wrk.run(g.address, 10, 1)
        for c in connections:
            def measure(g, c=c):
                load, cost = rig.per_request(g, lambda: wrk.run(g.address, c, conf.seconds))
                return {**cost, "rate": load.rate}

            found[c] = side_by_side(conf, gateways, measure)
    finally:
        stop_all(gateways)
    return found


def syscalls(conf, upstream, tag, connections=10):
    """System calls a request, of every contender; None where the kernel does not let us count."""
    wrk = rig.Wrk(conf.folder)
    gateways = start_all(conf, upstream, tag, contenders.ALL)
    try:
        return {g.title: rig.syscalls_per_request(g, lambda g=g: wrk.run(g.address, connections, conf.seconds), conf.folder)
                for g in gateways}
    finally:
        stop_all(gateways)


class Direct:
    """No gateway: what the load and the engine add by themselves."""

    title = "direct"

    def __init__(self, address):
        self.address = address

    @staticmethod
    def cpu():
        return 0.0, 0.0, 0.0

    def stop(self):
        pass


def sse(conf, transport, tag="sse", kinds=contenders.ALL):
    """50 streams, a chunk every 10 ms: CPU a chunk, delay from the engine's write to the client's read."""
    repeat = max(1, conf.seconds * CHUNKS_A_SECOND // SENTENCE)
    mock = contenders.MockEngine(conf.program, conf.folder, f"{tag}-{transport}", "--stamp", "--tokens-per-second",
                                 str(CHUNKS_A_SECOND), "--repeat", str(repeat))
    gateways = []
    try:
        gateways = start_all(conf, getattr(mock, transport), f"{tag}-{transport}", kinds) + [Direct(mock.tcp)]

        def measure(g):
            load, cost = rig.per_request(g, lambda: rig.streams(conf.program, g.address, STREAMS, STREAM_STARTS))
            if load.count != STREAMS * SENTENCE * repeat:
                raise RuntimeError(f"{g.title}: {load.count} events")
            delay = load.extra["delay_us"]
            return {**cost, "p50": delay["p50"], "p99": delay["p99"], "p99.9": delay["p99_9"]}

        return side_by_side(conf, gateways, measure)
    finally:
        stop_all(gateways)
        mock.stop()


# ---- memory ----


def idle_engines(conf, static, engines=100):
    """Pss of inferd with that many remotes, each at an address of its own on loopback."""
    more = "".join(f'[[remote]]\nname = "e{i}"\nkind = "openai"\nurl = "http://127.0.1.{i + 1}:{static.port}"\n'
                   f'models = ["m{i}"]\nslots = 8\n' for i in range(engines - 1))
    gateway = contenders.Inferd(conf, static.tcp, "idle", more)
    try:
        time.sleep(6.0)  # one round of probes is behind it
        return {"engines": engines, "processes": len(gateway.pids()), "pss_kb": gateway.pss_kb()}
    finally:
        gateway.stop()


def open_many(address, n, request, keep_reading):
    """n connections, each with one request; the reply is read (keep_reading) up to its end, or only its head."""
    found = []
    for _ in range(n):
        s = rig.connect(address)
        s.sendall(request)
        found.append(s)
        if keep_reading:
            rig.read_reply(s)
        else:
            rig.read_head(s)
    return found


def close_all(sockets):
    for s in sockets:
        s.close()


def per_connection(conf, upstream, tag, n, stream):
    """kB of Pss for each idle connection (one request behind it), or for each open stream."""
    found = {}
    for kind in contenders.ALL:
        g = kind(conf, upstream, tag)
        sockets = []
        try:
            warm = open_many(g.address, 50, rig.chat_bytes(stream=stream), not stream)
            before = g.pss_kb()
            sockets = open_many(g.address, n, rig.chat_bytes(stream=stream), not stream)
            time.sleep(1.0)
            found[g.title] = (g.pss_kb() - before) / n
            close_all(warm)
        finally:
            close_all(sockets)
            g.stop()
    return found


def idle_connections(conf, static):
    n = min(10000, conf.files // 2 - 200)  # the floor has two descriptors for each
    return n, per_connection(conf, static.tcp, "conns", n, stream=False)


def open_streams(conf):
    n = min(9000, conf.files // 2 - 500)
    mock = contenders.MockEngine(conf.program, conf.folder, "slow", "--tokens-per-second", "0.02")
    try:
        return n, per_connection(conf, mock.tcp, "streams", n, stream=True)
    finally:
        mock.stop()


def stalled_readers(conf, n=1000):
    """Clients that ask for an endless stream and never read: memory of the gateway and of the kernel for each."""
    mock = contenders.MockEngine(conf.program, conf.folder, "endless", "--tokens-per-second", "0", "--repeat", "100000")
    found = {}
    try:
        for kind in contenders.ALL:
            g = kind(conf, mock.tcp, "stalled")
            sockets = []
            try:
                before = g.pss_kb()
                for _ in range(n):
                    s = socket.socket()
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                    s.connect(("127.0.0.1", int(g.address.rpartition(":")[2])))
                    s.sendall(rig.chat_bytes(stream=True))
                    sockets.append(s)
                settle(g)
                kernel = rig.kernel_socket_kb(g.address.rpartition(":")[2])
                upstream = rig.kernel_socket_kb(mock.port, "dport")
                found[g.title] = {"user": (g.pss_kb() - before) / n, "kernel": (kernel + upstream) / n}
            finally:
                close_all(sockets)
                g.stop()
    finally:
        mock.stop()
    return n, found


def settle(g, seconds=20.0):
    """Waits until the process tree does nothing any more: less than 1 % of a CPU for a second."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        before = g.cpu()[2]
        time.sleep(1.0)
        if g.cpu()[2] - before < 0.01:
            return


# ---- times ----


def start_times(conf, static, n=20):
    """Milliseconds from exec of `inferd up` to its first answer."""
    port = rig.free_port()
    folder = f"{conf.folder}/inferd-start"
    os.makedirs(folder, exist_ok=True)
    contenders.write_inferd(folder, port, f"http://{static.tcp}", 1000)
    found = []
    for _ in range(n):
        began = time.monotonic()
        p = rig.Process([conf.program, "up", "--config", f"{folder}/inferd.toml", "--runtime-dir", f"{folder}/run",
                         "--state-dir", f"{folder}/state"], conf.folder, "inferd-start")
        try:
            rig.until(lambda: p.alive() and rig.get(f"127.0.0.1:{port}") == 200, "first answer", every=0.0005)
            found.append((time.monotonic() - began) * 1000)
        finally:
            p.stop()
    return {"median": rig.median(found), "max": max(found), "n": n}


def ready_to_routed(conf, n=20):
    """Milliseconds from the moment a supervised engine listens (it writes a file then) to the end of the first
    request, which waits for it."""
    found = []
    for i in range(n):
        folder = f"{conf.folder}/ready-{i}"
        os.makedirs(folder)
        port = rig.free_port()
        with open(f"{folder}/inferd.toml", "w", encoding="utf-8") as f:
            f.write(f'lanes = 1\n[[listen]]\naddress = "127.0.0.1:{port}"\n[[engine]]\nname = "engine"\n'
                    f'models = ["tiny"]\ncommand = ["{conf.program}", "mock", "--name", "engine", "--models", "tiny", '
                    f'"--socket", "${{SOCKET}}", "--ready-after-ms", "300", "--ready-file", "{folder}/listens"]\n')
        p = rig.Process([conf.program, "up", "--config", f"{folder}/inferd.toml", "--runtime-dir", f"{folder}/run",
                         "--state-dir", f"{folder}/state"], conf.folder, f"inferd-ready-{i}")
        try:
            rig.until(lambda: p.alive() and rig.get(f"127.0.0.1:{port}") == 200, "inferd answers")
            with rig.connect(f"127.0.0.1:{port}", 20) as s:
                s.sendall(rig.chat_bytes())
                rig.read_reply(s)
                answered = time.time()
            found.append((answered - os.stat(f"{folder}/listens").st_mtime) * 1000)
        finally:
            p.stop()
    return {"median": rig.median(found), "max": max(found), "n": n}


# ---- parts ----


def select_times(build):
    """What bench/select_bench prints: [[fleet, microseconds, budget]]."""
    text = subprocess.run([f"{build}/bench/select_bench"], capture_output=True, text=True, check=True).stdout
    return [[fleet.strip(), int(ns) / 1000, int(budget) / 1000]
            for fleet, ns, budget in re.findall(r"^(.*?) +(\d+) ns, budget (\d+)$", text, re.M)]


def instructions(root):
    """What test/sim/count finds: [[what, instructions of ours, of libc]] for one more chat, one more event."""
    sim = f"{root}/build/count/test/sim/sim"
    subprocess.run(["make", "-s", "build/count/build.ninja"], cwd=root, check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["ninja", "-C", f"{root}/build/count", "--quiet", "test/sim/sim"], check=True, stdout=subprocess.DEVNULL)
    done = subprocess.run([f"{root}/test/sim/count", sim], capture_output=True, text=True, check=True)
    return [[what, found["instructions"], found["by_folder"].get("libc", 0)] for what, found in json.loads(done.stdout).items()]
