# SPDX-License-Identifier: Apache-2.0
"""Master and gateway as processes: who survives whom, what they may do, how they start, end and tell the
service manager."""

import os
import pwd
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from harness import net, raw
from harness.gateway import Gateway, mock_unit, remote
from harness.tree import PROGRAM, alive, children, command_line
from harness.wait import SLOW, Stopwatch, never, until


def status_of(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


# ---- the gateway dies ----


@pytest.mark.smoke
def test_a_killed_gateway_comes_back(bench):
    up = bench.up({"engine": [mock_unit("tiny")]})
    engine = up.wait_unit("tiny", "ready")["pid"]
    assert up.chat().status == 200
    for _ in range(3):
        gateway = up.gateway_pid()
        os.kill(gateway, signal.SIGKILL)
        watch = Stopwatch()
        assert up.chat().status == 200  # connects queue on the sockets that the master holds
        assert watch.seconds() < 2 * SLOW
        assert up.gateway_pid() != gateway
    assert up.unit("tiny")["pid"] == engine and up.unit("tiny")["restarts"] == 0


@pytest.mark.fault
def test_no_connect_is_refused_while_the_gateway_is_away(bench):
    up = bench.up({"engine": [mock_unit("tiny")]})
    up.wait_unit("tiny", "ready")
    over, refused, done = threading.Event(), [], [0]

    def knock():
        while not over.is_set():
            try:
                raw.connect(up.address).close()
                done[0] += 1
            except OSError as e:
                refused.append(e)
            over.wait(0.001)  # so that their ports last

    t = threading.Thread(target=knock)
    t.start()
    for _ in range(5):
        os.kill(up.gateway_pid(), signal.SIGKILL)
        assert up.chat().status == 200
    over.set()
    t.join()
    assert not refused and done[0] > 10


def test_the_control_socket_outlives_the_gateway(bench):
    up = bench.up({"engine": [mock_unit("tiny")]})
    up.wait_unit("tiny", "ready")
    os.kill(up.gateway_pid(), signal.SIGKILL)
    assert until(lambda: up.unit("tiny")["state"] == "ready", "the units are known again")


def test_a_unit_that_dies_while_the_gateway_is_away(bench):
    up = bench.up({"engine": [mock_unit("tiny", restart_delay_ms=10)]})
    pid = up.wait_unit("tiny", "ready")["pid"]
    os.kill(up.gateway_pid(), signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)
    until(lambda: not alive(pid), "nothing listens in its name any more")
    assert up.chat().status == 200
    assert up.unit("tiny")["pid"] != pid


# ---- the master dies ----


@pytest.mark.smoke
def test_engines_die_with_the_master(bench):
    up = bench.up({"engine": [mock_unit("tiny", args=["--ignore-sigterm"])]})
    pid = up.wait_unit("tiny", "ready")["pid"]
    gateway = up.gateway_pid()
    up.kill()
    until(lambda: not alive(pid) and not alive(gateway), "both died with it")


@pytest.mark.fault
def test_what_is_left_is_swept_at_the_next_start(bench):
    up = bench.up({"engine": [mock_unit("tiny", args=["--fork-stray"])]})
    pid = up.wait_unit("tiny", "ready")["pid"]
    strays = until(lambda: [p for p in net.inhabitants() if "mock" in command_line(p)[1:2] and p != pid], "the stray is there")
    up.kill()
    until(lambda: not alive(pid), "the unit died with the master")
    assert all(alive(p) for p in strays), "a process that left its group outlives the master"
    os.unlink(up.ready_path)
    again = bench.tree(up.command, "again", cwd=up.folder)
    again.ready_path = up.ready_path
    again.wait_ready()
    until(lambda: not any(alive(p) for p in strays), "the stray is gone", 8)


def test_a_second_master_is_refused(bench):
    up = bench.up({"engine": [mock_unit("tiny")]})
    pid = up.wait_unit("tiny", "ready")["pid"]
    second = subprocess.run(up.command, capture_output=True, text=True, timeout=20 * SLOW, check=False)
    assert second.returncode == 1 and second.stderr.startswith("Error: "), second
    assert alive(pid) and up.chat().status == 200 and up.unit("tiny")["restarts"] == 0
    assert os.path.exists(up.control[5:])


# ---- the end ----


@pytest.mark.smoke
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_orderly_end(bench, number):
    m = bench.mock(args=["--tokens-per-second", "40"])
    up = bench.up({"engine": [mock_unit("unit", ["unit"])], "remote": [remote(m)]})
    pid = up.wait_unit("unit", "ready")["pid"]
    with up.open_chat(seconds=20) as c, up.open() as idle:
        reply = c.head()
        assert c.begun()
        idle.request("GET", "/health")
        idle.reply("GET")
        up.signal(number)
        assert idle.end() == "fin"
        c.body(reply)
        assert reply.whole and reply.events()[-1] == "[DONE]"  # what is under way is finished
        assert c.end() == "fin"
    assert up.wait_exit() == 0 and not alive(pid)
    assert not os.path.exists(up.control[5:])


def test_drain_delay(bench):
    m = bench.mock()
    up = bench.up({"remote": [remote(m)], "limits": {"drain_delay_ms": 30000}})
    up.signal(signal.SIGTERM)
    reply = until(lambda: up.get("/ready").status == 503 and up.get("/ready"), "not ready any more")
    assert reply.error()["code"] == "draining" and reply["retry-after"]
    assert up.chat().status == 200  # still served
    up.signal(signal.SIGTERM)  # the second one waits for nothing
    assert up.wait_exit() == 0


def test_drain_ms(bench):
    """What is not finished by then is cut, truthfully."""
    m = bench.mock(args=["--tokens-per-second", "5", "--repeat", "10"])
    up = bench.up({"remote": [remote(m)], "limits": {"drain_ms": 600}})
    with up.open_chat(seconds=20) as c, up.open() as half:
        reply = c.head()
        assert c.begun()
        half.send(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{")
        until(lambda: up.metric("inferd_requests_in_flight") == 2, "both are under way")
        up.signal(signal.SIGTERM)
        c.body(reply)
        assert not reply.whole and b"[DONE]" not in reply.body and '"draining"' in reply.events()[-1]
        assert half.reply().status in (503, 408)
    assert up.wait_exit() == 0


def test_a_second_sigterm_cuts(bench):
    m = bench.mock(args=["--tokens-per-second", "5", "--repeat", "10"])
    up = bench.up({"engine": [mock_unit("unit", ["unit"], args=["--ignore-sigterm"], stop_grace_ms=60000)], "remote": [remote(m)]})
    up.wait_unit("unit", "ready")
    with up.open_chat(seconds=20) as c:
        reply = c.head()
        assert c.begun()
        up.signal(signal.SIGTERM)
        until(lambda: up.log(msg="draining"), "it drains")
        watch = Stopwatch()
        up.signal(signal.SIGTERM)
        c.body(reply)
        assert not reply.whole and b"[DONE]" not in reply.body
    assert up.wait_exit() == 0 and watch.seconds() < 2 * SLOW


def test_signals_that_mean_nothing_end_nothing(bench):
    """A log rotation's SIGUSR1 ended the master with all its engines; SIGHUP for all of us ended the gateway."""
    up = bench.up({"engine": [mock_unit("tiny")]})
    before = up.wait_unit("tiny", "ready")["pid"], up.gateway_pid()
    for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP):
        os.kill(up.gateway_pid(), number)
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        up.signal(number)
    assert up.chat().status == 200
    assert (up.unit("tiny")["pid"], up.gateway_pid()) == before
    assert up.metric("inferd_gateway_starts_total") == 1


def test_an_end_before_it_is_ready(bench):
    for pause in (0, 0.01, 0.05):
        up = bench.up({"engine": [mock_unit("tiny")]}, wait=False)
        time.sleep(pause)  # somewhere in its start
        up.signal(signal.SIGTERM)
        up.process.wait(10 * SLOW)
        up.killed = up.process.returncode == -signal.SIGTERM  # before it could catch it
        assert up.process.returncode in (0, -signal.SIGTERM)


# ---- failures to start ----


def fails(command, **kw):
    done = subprocess.run([PROGRAM, *command], capture_output=True, text=True, timeout=20 * SLOW, check=False, **kw)
    return done


def test_failures_to_start(bench):
    taken = bench.engine()
    run = ["--runtime-dir", bench.path("run"), "--state-dir", bench.path("state")]
    done = fails(["up", *run, "--listen", f"127.0.0.1:{taken.port}"])
    assert done.returncode == 1 and done.stderr.startswith("Error: ") and str(taken.port) in done.stderr, done
    done = fails(["up", *run, "--config", bench.path("none.toml")])
    assert done.returncode == 1 and "none.toml" in done.stderr, done
    done = fails(["up", *run, "--listen", "0.0.0.0:0"])
    assert done.returncode in (1, 2) and "insecure" in done.stderr, done
    done = fails(["up", "--no-such-flag"])
    assert done.returncode == 2 and "no-such-flag" in done.stderr, done
    done = fails(["up", *run, "--listen", "127.0.0.1:99999"])
    assert done.returncode in (1, 2), done
    with open(bench.path("bad.toml"), "w", encoding="utf-8") as f:
        f.write('[[engine]]\nname = "x"\ncommand = "a string"\n')
    done = fails(["up", *run, "--config", bench.path("bad.toml")])
    assert done.returncode == 1 and "bad.toml" in done.stderr and "command" in done.stderr, done


def test_off_loopback_with_insecure(bench):
    up = bench.up({"remote": [remote(bench.engine())]}, args=["--listen", "0.0.0.0:0", "--insecure"])
    port = up.address.rpartition(":")[2]
    assert raw.get(f"127.0.0.1:{port}", "/health").status == 200
    record = up.wait_log(level="warn", msg="insecure: whoever reaches this address can use every model")
    assert record["address"].startswith("0.0.0.0:")


# ---- the service manager ----


class Manager:
    """NOTIFY_SOCKET's other end."""

    def __init__(self, path):
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(path)
        os.chmod(path, 0o777)
        self.socket.setblocking(False)
        self.seen = []

    def poll(self):
        try:
            while True:
                self.seen += self.socket.recv(4096).decode().splitlines()
        except BlockingIOError:
            return self.seen

    def wait(self, word, count=1):
        until(lambda: sum(line.startswith(word) for line in self.poll()) >= count, f"{word} is told; got {self.seen}", 8)


def test_sd_notify(bench):
    manager = Manager(bench.path("notify"))
    up = bench.up({"listen": [{"address": "127.0.0.1:0"}], "remote": [remote(bench.engine())]},
                  env={"NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": "1000000"})
    manager.wait("READY=1")
    manager.wait("WATCHDOG=1", 3)
    assert f"MAINPID={up.pid}" in manager.seen or not any(line.startswith("MAINPID") for line in manager.seen)
    up.reload()
    manager.wait("RELOADING=1")
    manager.wait("MONOTONIC_USEC=")
    manager.wait("READY=1", 2)
    up.signal(signal.SIGTERM)
    manager.wait("STOPPING=1")
    up.wait_exit()


@pytest.mark.parametrize("role", ["registry", "router", "babysitter"])
def test_sd_notify_of_the_fabrics_programs(bench, role):
    manager = Manager(bench.path("notify"))
    env = {"NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": "1000000"}
    program = bench.sitter(models=("tiny",), env=env) if role == "babysitter" else getattr(bench, role)(env=env)
    manager.wait("READY=1")
    manager.wait("WATCHDOG=1", 3)
    program.signal(signal.SIGTERM)
    manager.wait("STOPPING=1")
    assert program.wait_exit() == 0


def test_a_refused_reload_is_over_for_systemd_too(bench):
    manager = Manager(bench.path("notify"))
    up = bench.up({"remote": [remote(bench.engine())]}, env={"NOTIFY_SOCKET": manager.path})
    manager.wait("READY=1")
    up.write_config("nonsense = true\n")
    up.reload()
    manager.wait("READY=1", 2)
    assert [line for line in manager.seen if line in ("READY=1", "RELOADING=1")] == ["READY=1", "RELOADING=1", "READY=1"]
    assert manager.seen[-1].startswith("STATUS=") and "refused" in manager.seen[-1]


def test_a_master_whose_loop_stands_still_misses_its_beats(bench):
    manager = Manager(bench.path("notify"))
    up = bench.up({}, env={"NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": "200000"})
    manager.wait("WATCHDOG=1", 2)
    up.signal(signal.SIGSTOP)
    until(lambda: status_of(up.pid)["State"].startswith("T"), "it is stopped")
    before = len(manager.poll())
    never(lambda: len(manager.poll()) > before, "somebody else beats for it", 0.6)
    up.signal(signal.SIGCONT)
    until(lambda: "WATCHDOG=1" in manager.poll()[before:], "it beats again")


def test_the_ready_file_is_there_while_clients_are_accepted(bench):
    unix = bench.path("in.sock")
    up = bench.up({}, args=["--listen", "127.0.0.1:0", "--listen", f"unix:{unix}", "--admin-address", "127.0.0.1:0"])
    ready = up.ready
    assert sorted(ready) == ["admin", "listen", "pid", "registry"] and ready["pid"] == up.pid
    assert len(ready["listen"]) == 2 and ready["listen"][1] == f"unix:{unix}" and len(ready["admin"]) == 2
    assert not any(a.endswith(":0") for a in ready["listen"] + ready["admin"]), "the ports that the kernel chose"
    assert up.control in ready["admin"]
    assert all(raw.get(a, "/health").status == 200 for a in ready["listen"])
    assert all(raw.get(a, "/metrics").status == 200 for a in ready["admin"])
    up.signal(signal.SIGTERM)
    assert up.wait_exit() == 0
    assert not os.path.exists(up.ready_path)


def test_engines_do_not_inherit_the_managers_words(bench):
    manager = Manager(bench.path("notify"))
    up = bench.up({"engine": [mock_unit("tiny")]}, env={"NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": "60000000",
                                                        "INFERD_LOG_LEVEL": "debug", "KEPT": "yes"})
    pid = up.wait_unit("tiny", "ready")["pid"]
    with open(f"/proc/{pid}/environ", "rb") as f:
        names = {v.partition(b"=")[0].decode() for v in f.read().split(b"\0") if v}
    assert "KEPT" in names
    assert not [n for n in names if n.startswith(("LISTEN_", "NOTIFY_", "WATCHDOG_")) or (n.startswith("INFERD_") and n != "INFERD_UNIT")]


INHERIT = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="web")
os.execv(sys.argv[2], sys.argv[2:])
"""


def test_listen_fds(bench):
    """A socket that the service manager bound: used beside what is configured."""
    s = socket.socket()
    s.bind(("127.0.0.1", 0))
    s.listen(16)
    address = "127.0.0.1:%d" % s.getsockname()[1]
    folder = bench.path("up")
    os.makedirs(folder)
    tree = bench.tree([sys.executable, "-c", INHERIT, s.fileno(), PROGRAM, "up", "--runtime-dir", f"{folder}/run", "--state-dir",
                       f"{folder}/state", "--ready-file", f"{folder}/ready", "--log-format", "json"], "up", pass_fds=[s.fileno()])
    tree.ready_path = f"{folder}/ready"
    ready = tree.wait_ready()
    assert address in ready["listen"], ready
    s.close()
    assert raw.get(address, "/health").status == 200


# ---- rights ----


def test_the_gateway_is_confined(bench):
    up = bench.up({"engine": [mock_unit("tiny")]})
    up.wait_unit("tiny", "ready")
    status = status_of(up.gateway_pid())
    assert status["NoNewPrivs"] == "1"
    if "asan" not in PROGRAM and "tsan" not in PROGRAM:  # the sanitizers' own calls would be refused
        assert status["Seccomp"] == "2"
    assert int(status["CapEff"], 16) == 0
    with open(f"/proc/{up.gateway_pid()}/limits", encoding="utf-8") as f:
        assert re.search(r"^Max core file size +0 +0 ", f.read(), re.M)
    if os.getuid() == 0:
        uid = status["Uid"].split()
        assert "0" not in uid and len(set(uid)) == 1, uid
        assert status["Groups"].strip() in ("", status["Gid"].split()[0])
        assert status_of(up.pid)["Uid"].split()[0] == "0"


class AsNobody(Gateway):
    def wrap(self, command):
        return ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *command] if os.getuid() == 0 else command


def test_neither_process_can_be_dumped(bench):
    """Files in /proc/PID belong to root when PID may not be dumped, to its user when it may."""
    up = bench.register(AsNobody.__new__(AsNobody), bench.new_folder("up"), config={"engine": [mock_unit("tiny")]})
    up.wait_unit("tiny", "ready")
    for pid in (up.pid, up.gateway_pid()):
        assert os.stat(f"/proc/{pid}/environ").st_uid == 0, f"{pid}: its user's other processes can read its memory"
        with open(f"/proc/{pid}/limits", encoding="utf-8") as f:
            assert re.search(r"^Max core file size +0 +0 ", f.read(), re.M)
    assert os.stat(f"/proc/{up.unit('tiny')['pid']}/environ").st_uid != 0, "an engine is its operator's to look into"


def test_the_gateways_environment_holds_no_secret(bench):
    up = bench.up({}, env={"API_TOKEN": "not-for-everybody", "LANG": "C", "INFERD_LOG_LEVEL": "info", "LD_LIBRARY_PATH": "/nowhere"})
    with open(f"/proc/{up.gateway_pid()}/environ", "rb") as f:
        names = {v.split(b"=", 1)[0].decode() for v in f.read().split(b"\0") if v}
    assert "LANG" in names
    assert names <= {"LANG", "LC_ALL", "TZ", "RES_OPTIONS", "LOCALDOMAIN", "HOSTALIASES", "LD_PRELOAD", "LD_LIBRARY_PATH",
                     "ASAN_OPTIONS", "UBSAN_OPTIONS",
                     "TSAN_OPTIONS", "LSAN_OPTIONS", "LLVM_PROFILE_FILE"}


def test_as_many_lanes_as_may_be_asked_for(bench):
    """Every thread logs and counts: 64 lanes were more than there was room for."""
    up = bench.up({"engine": [mock_unit("tiny")]}, lanes="64")
    up.wait_unit("tiny", "ready")
    assert up.admin("/status")["lanes"] == 64
    assert all(up.chat().status == 200 for _ in range(70))


@pytest.mark.skipif(os.getuid() != 0, reason="only root can drop to a user")
def test_the_gateways_user(bench):
    up = bench.up({"engine": [mock_unit("tiny", at="${SOCKET}")], "process": {"user": "daemon"}})
    up.wait_unit("tiny", "ready")
    assert status_of(up.gateway_pid())["Uid"].split()[0] == str(pwd.getpwnam("daemon").pw_uid)
    assert up.chat().status == 200  # it reaches the unit's socket
    os.kill(up.gateway_pid(), signal.SIGKILL)
    assert up.chat().status == 200
    assert up.ctl_json("status")


@pytest.mark.skipif(os.getuid() != 0, reason="only root can drop to a user")
def test_a_units_user(bench):
    up = bench.up({"engine": [mock_unit("tiny", user="daemon"), mock_unit("root", ["root"])]})
    assert status_of(up.wait_unit("tiny", "ready")["pid"])["Uid"].split()[0] != "0"
    assert status_of(up.wait_unit("root", "ready")["pid"])["Uid"].split()[0] == "0"


def test_files_and_sockets_are_closed_in_children(bench):
    up = bench.up({"engine": [mock_unit("tiny")]})
    pid = up.wait_unit("tiny", "ready")["pid"]
    links = {}
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            links[fd] = os.readlink(f"/proc/{pid}/fd/{fd}")
        except FileNotFoundError:
            pass  # the connection of a test of its health has gone meanwhile
    assert links["0"] == "/dev/null"
    port = up.address.rpartition(":")[2]
    inodes = [line.split()[9] for line in open("/proc/net/tcp", encoding="utf-8") if line.split()[1].endswith(f":{int(port):04X}")]
    assert not any(f"socket:[{i}]" == link for i in inodes for link in links.values()), "a unit holds the listener"
    parents = children(up.pid)
    assert pid in parents and up.gateway_pid() in parents


def test_runtime_dir(bench):
    up = bench.up({"remote": [remote(bench.engine())]})
    mode = os.stat(up.runtime_dir).st_mode & 0o777
    assert mode & 0o007 == 0, oct(mode)
    assert os.stat(up.control[5:]).st_mode & 0o007 == 0
