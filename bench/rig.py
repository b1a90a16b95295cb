# SPDX-License-Identifier: Apache-2.0
"""What every measurement needs: processes that are started, read and ended by pid, what the kernel
says about them, and loads that are counted."""

import hashlib
import json
import os
import re
import resource
import signal
import socket
import statistics
import subprocess
import time

TICK = os.sysconf("SC_CLK_TCK")
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# An API key: inferd asks for it, the others pass it on.
KEY_ID, KEY_SECRET = "bench0000000", "A" * 43
BEARER = f"Bearer inf_{KEY_ID}_{KEY_SECRET}"
KEYS = f'[[key]]\nid = "{KEY_ID}"\nname = "bench"\nmodels = ["*"]\nsha256 = "{hashlib.sha256(KEY_SECRET.encode()).hexdigest()}"\n'


def raise_descriptors():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def until(condition, what, seconds=10.0, every=0.005):
    end = time.monotonic() + seconds
    while True:
        try:
            found = condition()
        except (OSError, ValueError):
            found = None
        if found:
            return found
        if time.monotonic() > end:
            raise RuntimeError(f"not within {seconds:g} s: {what}")
        time.sleep(every)


# ---- what the kernel says about a process tree ----


def tree(pid):
    """The process and all its descendants."""
    found = [pid]
    for p in found:
        try:
            for task in os.listdir(f"/proc/{p}/task"):
                with open(f"/proc/{p}/task/{task}/children", encoding="utf-8") as f:
                    found += [int(c) for c in f.read().split()]
        except OSError:
            pass
    return found


def cpu_seconds(pids):
    """(user, system, both) of all of them so far. The kernel counts the sum in nanoseconds (schedstat) and
    splits it by ticks of 10 ms (stat)."""
    user = system = both = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as f:
            fields = f.read().rpartition(")")[2].split()
        user, system = user + int(fields[11]), system + int(fields[12])
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/schedstat", encoding="utf-8") as f:
                both += int(f.read().split()[0])
    return user / TICK, system / TICK, both / 1e9


def pss_kb(pids):
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup", encoding="utf-8") as f:
            total += next(int(line.split()[1]) for line in f if line.startswith("Pss:"))
    return total


def kernel_socket_kb(port, side="sport"):
    """Memory of the TCP sockets here that have this local (sport) or remote (dport) port: both queues."""
    text = subprocess.run(["ss", "-tmnH", "state", "connected", f"{side} = :{port}"], capture_output=True, text=True,
                          check=True).stdout
    total = 0
    for received, sent, forward, queued in re.findall(r"skmem:\(r(\d+),rb\d+,t(\d+),tb\d+,f(\d+),w(\d+)", text):
        ahead = int(forward) if int(forward) < 1 << 31 else 0  # a debt is printed as a huge number
        total += int(received) + ahead + max(int(sent), int(queued))
    return total / 1024


# ---- processes ----


class Process:
    """One started command; its output goes to a file."""

    def __init__(self, command, folder, name, ready=None, env=None):
        self.name, self.command = name, [str(a) for a in command]
        self.log = f"{folder}/{name}.log"
        with open(self.log, "wb") as log:
            self.popen = subprocess.Popen(self.command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=env)
        self.pid = self.popen.pid
        if ready:
            until(lambda: self.alive() and ready(), f"{name} ready, see {self.log}")

    def alive(self):
        if self.popen.poll() is not None:
            with open(self.log, encoding="utf-8", errors="replace") as f:
                raise RuntimeError(f"{self.name} ended with {self.popen.returncode}: {f.read()[-2000:]}")
        return True

    def pids(self):
        return tree(self.pid)

    def cpu(self):
        return cpu_seconds(self.pids())

    def pss_kb(self):
        return pss_kb(self.pids())

    def stop(self):
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
            try:
                self.popen.wait(15)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()


def connect(address, seconds=10.0):
    if address.startswith("unix:"):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(seconds)
        s.connect(address[5:])
    else:
        host, _, port = address.rpartition(":")
        s = socket.create_connection((host, int(port)), seconds)
    return s


def get(address, path="/health", seconds=5.0):
    """The status of one GET on a connection of its own."""
    with connect(address, seconds) as s:
        s.sendall(f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n".encode())
        line = s.recv(4096)
    return int(line.split()[1]) if line.startswith(b"HTTP/1.") else 0


def chat_bytes(model="tiny", stream=False, content="Hello"):
    body = json.dumps({"messages": [{"content": content, "role": "user"}], "model": model, "stream": stream})
    return (f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: {BEARER}\r\n"
            "content-type: application/json\r\n"
            f"content-length: {len(body)}\r\n\r\n{body}").encode()


def read_head(s):
    """Reads up to the end of a reply's head; returns what came, with whatever followed."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = s.recv(65536)
        if not more:
            raise RuntimeError("the connection ended before a reply")
        data += more
    if not data.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"not a 200: {data[:200]!r}")
    return data


def read_reply(s):
    """One whole reply that has a length."""
    head, _, body = read_head(s).partition(b"\r\n\r\n")
    length = int(re.search(rb"(?i)\r\ncontent-length: *(\d+)", head).group(1))
    while len(body) < length:
        body += s.recv(65536)


# ---- loads ----


class Load:
    """What one load did: requests (or events) and seconds."""

    def __init__(self, count, rate, extra=None):
        self.count, self.rate, self.extra = count, rate, extra or {}


class Wrk:
    """wrk on a TCP address: as many requests as it can, each of them the same chat request."""

    def __init__(self, folder, prompt_bytes=16):
        self.script = f"{folder}/wrk-{prompt_bytes}.lua"
        content = ("Tell me a story. " * (prompt_bytes // 17 + 1))[:prompt_bytes]
        body = json.dumps({"messages": [{"content": content, "role": "user"}], "model": "tiny", "stream": False})
        with open(self.script, "w", encoding="utf-8") as f:
            f.write(f"wrk.method = 'POST'\nwrk.headers['Content-Type'] = 'application/json'\n"
                    f"wrk.headers['Authorization'] = '{BEARER}'\nwrk.body = '{body}'\n"
                    "wrk.path = '/v1/chat/completions'\n")

    def run(self, address, connections, seconds):
        done = subprocess.run(["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", self.script,
                               f"http://{address}/v1/chat/completions"], capture_output=True, text=True, check=True)
        text = done.stdout
        if "Non-2xx" in text or "Socket errors" in text:
            raise RuntimeError(f"a load with errors on {address}: {text}")
        return Load(int(re.search(r"(\d+) requests in", text).group(1)),
                    float(re.search(r"Requests/sec: +([\d.]+)", text).group(1)))


def streams(program, address, connections, rate):
    """That many event streams at once, started one by one; counted in events."""
    done = subprocess.run([program, "bench", f"http://{address}", "--model", "tiny", "--header", f"Authorization: {BEARER}",
                           "--stream", "--json", "--connections", str(connections), "--requests", str(connections), "--rate",
                           str(rate)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"a load with errors on {address}: {done.stdout}{done.stderr}")
    report = json.loads(done.stdout)
    return Load(report["events"], report["events"] / (report["duration_us"] / 1e6), report)


def per_request(process, load):
    """Runs the load; returns it, and the process tree's CPU microseconds per request: user, system, cpu."""
    before = process.cpu()
    done = load()
    user, system, both = ((b - a) * 1e6 / done.count for a, b in zip(before, process.cpu()))
    share = user / (user + system) if user + system else 0
    return done, {"user": both * share, "system": both * (1 - share), "cpu": both}


def syscalls_per_request(process, load, folder):
    """Counted by perf; None where that is not allowed."""
    out = f"{folder}/perf"
    try:
        perf = subprocess.Popen(["perf", "stat", "-x,", "-e", "raw_syscalls:sys_enter", "-o", out, "-p",
                                 ",".join(map(str, process.pids()))], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    except OSError:
        return None
    time.sleep(0.3)
    if perf.poll() is not None:
        return None
    done = load()
    perf.send_signal(signal.SIGINT)
    perf.wait()
    with open(out, encoding="utf-8") as f:
        found = re.search(r"^(\d+),", f.read(), re.M)
    return int(found.group(1)) / done.count if found else None


def median(values):
    return statistics.median(values)
