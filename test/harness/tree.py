# SPDX-License-Identifier: Apache-2.0
"""A program under test and what it started. Output goes to files, because a pipe nobody reads would
change what is tested; the end is asked for by pid and waited for."""

import json
import os
import shlex
import signal
import subprocess
import time

from harness.wait import SLOW, until

PROGRAM = os.path.abspath(os.environ.get("INFERD", "build/asan/inferd"))
SANITIZER_EXIT = 86


def sanitizer_env(folder):
    """Reports go to files of their own, so that no test can overlook one."""
    common = f"log_path={folder}/report:exitcode={SANITIZER_EXIT}"
    return {
        "ASAN_OPTIONS": f"{common}:detect_leaks=1:detect_stack_use_after_return=1:handle_abort=0",
        "UBSAN_OPTIONS": f"{common}:print_stacktrace=1",
        "TSAN_OPTIONS": f"{common}:halt_on_error=0:second_deadlock_stack=1",
    }


def describe(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as f:
            return f"{pid} {f.read().replace(bytes(1), b' ').decode(errors='replace')}"
    except OSError:
        return f"{pid} (gone)"


def state_of(pid):
    """The letter of /proc/PID/stat; None when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as f:
            return f.read().rpartition(")")[2].split()[0]
    except OSError:
        return None


def cpu_seconds(pid):
    """Processor time of a process so far, all threads."""
    with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as f:
        fields = f.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def limit_descriptors(pid, soft):
    """Sets a process's limit, as its own user: root may not without the right to."""
    with open(f"/proc/{pid}/status", encoding="utf-8") as f:
        ids = {line.split()[0]: int(line.split()[1]) for line in f if line.startswith(("Uid:", "Gid:"))}
    same = ids["Uid:"] == os.getuid()
    subprocess.run(["prlimit", "--pid", str(pid), f"--nofile={soft}:"], check=True, user=None if same else ids["Uid:"],
                   group=None if same else ids["Gid:"], extra_groups=None if same else [])


def signal_mask(pid, which, number):
    """Is a signal in a mask of /proc/PID/status? "ShdPnd": sent, not taken yet; "SigCgt": it has a handler."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8") as f:
            line = next(line for line in f if line.startswith(which + ":"))
    except (OSError, StopIteration):
        return False
    return int(line.split()[1], 16) >> (number - 1) & 1


def alive(pid):
    return state_of(pid) not in (None, "Z", "X")


def children(pid):
    """Pids of the direct children, oldest first."""
    found = []
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    for task in tasks:
        try:
            with open(f"/proc/{pid}/task/{task}/children", encoding="utf-8") as f:
                found += [int(p) for p in f.read().split()]
        except OSError:
            pass
    return sorted(found)


def command_line(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as f:
            return [a.decode(errors="replace") for a in f.read().split(b"\0")[:-1]]
    except OSError:
        return []


class Tree:
    """One started command. `folder` receives stdout, stderr, reports and the ready file."""

    def __init__(self, command, folder, name, env=None, cwd=None, pass_fds=()):
        os.makedirs(folder, exist_ok=True)
        os.chmod(folder, 0o1777)  # a gateway that dropped its rights writes reports here, too
        self.name, self.folder, self.command = name, str(folder), [str(a) for a in command]
        self.out_path, self.err_path = f"{folder}/stdout", f"{folder}/stderr"
        self.ready_path = f"{folder}/ready"
        full = dict(os.environ, **sanitizer_env(folder), **(env or {}))
        full.setdefault("INFERD_SANDBOX", "kill")  # what the gateway may not do ends it, and the test
        for variable in ("INFERD", "NOTIFY_SOCKET", "INFERD_CONFIG"):
            if variable not in (env or {}):
                full.pop(variable, None)
        with open(self.out_path, "ab") as out, open(self.err_path, "ab") as err:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=full,
                                            cwd=cwd or folder, pass_fds=pass_fds, start_new_session=True)
        self.pid = self.process.pid
        self.expected_exit = 0
        self.killed = False

    # what it said

    def stdout(self):
        with open(self.out_path, "rb") as f:
            return f.read()

    def stderr(self):
        with open(self.err_path, "rb") as f:
            return f.read()

    def reports(self):
        """Sanitizer reports of any process of the tree."""
        found = []
        for name in sorted(os.listdir(self.folder)):
            if name.startswith("report."):
                with open(f"{self.folder}/{name}", encoding="utf-8", errors="replace") as f:
                    found.append(f"{name}:\n{f.read()}")
        return found

    def story(self):
        """For the reader of a failed test."""
        parts = [f"--- {self.name}: {shlex.join(self.command)} (pid {self.pid}, exit {self.process.poll()})"]
        for label, text in (("stdout", self.stdout()), ("stderr", self.stderr())):
            lines = text.decode(errors="replace").splitlines()
            if lines:
                cut = [f"[{len(lines) - 200} lines left out]"] if len(lines) > 200 else []
                parts += [f"--- {label}"] + cut + lines[-200:]
        return "\n".join(parts + self.reports())

    # its life

    def running(self):
        return self.process.poll() is None

    def wait_ready(self, seconds=10.0):
        """The ready file's content."""

        def ready():
            assert self.running(), f"{self.name} ended with {self.process.poll()} before it was ready"
            with open(self.ready_path, encoding="utf-8") as f:
                return json.load(f)

        return until(ready, f"{self.name} ready", seconds)

    def signal(self, number):
        os.kill(self.pid, number)

    def wait_exit(self, seconds=10.0):
        try:
            return self.process.wait(seconds * SLOW)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not end within {seconds * SLOW:.0f} s") from None

    def kill(self):
        """SIGKILL, and no complaint about its exit status."""
        self.killed = True
        if self.running():
            self.process.kill()
        self.process.wait()

    def stop(self, seconds=15.0):
        """SIGTERM, and what is wrong with the end: a list of sentences."""
        problems = []
        if self.running():
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(seconds * SLOW)
            except subprocess.TimeoutExpired:
                problems.append(f"{self.name} did not end on SIGTERM within {seconds * SLOW:.0f} s")
                self.process.kill()
                self.process.wait()
                self.killed = True
        status = self.process.returncode
        if not self.killed and status != self.expected_exit:
            problems.append(f"{self.name} ended with {status}, expected {self.expected_exit}")
        problems += self.reports()
        return problems


def end_stragglers(pids, seconds=2.0):
    """Waits for processes that should be gone, then ends them by pid; returns those that had to be ended."""
    end = time.monotonic() + seconds * SLOW
    while any(alive(p) for p in pids) and time.monotonic() < end:
        time.sleep(0.02)
    left = [p for p in pids if alive(p)]
    told = [describe(p) for p in left]
    for p in left:
        try:
            os.kill(p, signal.SIGKILL)
        except ProcessLookupError:
            pass
    return told
