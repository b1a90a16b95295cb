# SPDX-License-Identifier: Apache-2.0
"""A network of its own for each test: this thread moves into a new network namespace with nothing
but a loopback, and everything it starts from then on (processes, sockets, threads) lives there. So
published ports never clash, and nothing a test sends can leave the machine.

Where the system forbids it, the tests run on the host's loopback and say so; those that need the
published ports are skipped when somebody else has one of them."""

import ctypes
import errno
import fcntl
import itertools
import os
import resource
import socket
import struct

CLONE_NEWNET = 0x40000000
SIOCGIFFLAGS, SIOCSIFFLAGS, SIOCSIFADDR, IFF_UP = 0x8913, 0x8914, 0x8916, 0x1
FREE_PORTS = range(20000, 27000, 2)  # every other one: see fabric.free_pair()
_nth = itertools.count(os.getpid())  # processes that share a network begin apart
_libc = ctypes.CDLL(None, use_errno=True)


def _raise_loopback():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        request = struct.pack("16sH14x", b"lo", 0)
        flags = struct.unpack_from("H", fcntl.ioctl(s, SIOCGIFFLAGS, request), 16)[0]
        fcntl.ioctl(s, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", flags | IFF_UP))


def enter():
    """Moves this thread into a fresh namespace. None, or why that is not possible."""
    if _libc.unshare(CLONE_NEWNET) != 0:
        return os.strerror(ctypes.get_errno())
    _raise_loopback()
    return None


class Namespace:
    """The namespace this thread is in now, held open. `with`: the thread goes (back) there for a while; what it
    starts meanwhile stays there."""

    def __init__(self):
        self.fd, self.before = _open_own(), []

    @property
    def path(self):
        return f"/proc/{os.getpid()}/fd/{self.fd}"

    def __enter__(self):
        self.before.append(_open_own())
        _move(self.fd)
        return self

    def __exit__(self, *_):
        fd = self.before.pop()
        _move(fd)
        os.close(fd)

    def close(self):
        os.close(self.fd)


def _open_own():
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _move(fd):
    if _libc.setns(fd, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def add_address(text):
    """One more address of this namespace, on its loopback; for clients that are to come from elsewhere."""
    if ":" in text:
        index = socket.if_nametoindex("lo")
        request = socket.inet_pton(socket.AF_INET6, text) + struct.pack("Ii", 128, index)
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as s:
            fcntl.ioctl(s, SIOCSIFADDR, request)
        return
    label = b"lo:" + text.rpartition(".")[2].encode()
    request = struct.pack("16sHH4s8x", label, socket.AF_INET, 0, socket.inet_aton(text))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        fcntl.ioctl(s, SIOCSIFADDR, request)


def taken(ports=(8900, 11434, 8080, 8000)):
    """Which of the published ports somebody listens on here."""
    found = []
    for port in ports:
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                found.append(port)
    return found


def identity(pid="thread-self"):
    """What names the namespace of a process (or of this thread); None when it cannot be read."""
    try:
        return os.stat(f"/proc/{pid}/ns/net").st_ino
    except OSError:
        return None


def inhabitants():
    """Processes that live in this thread's namespace, other than this one."""
    here, found = identity(), []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid() and identity(name) == here:
            found.append(int(name))
    return found


def free_port(host="127.0.0.1"):
    """A port nobody listens on: for what must be refused, or written into a configuration. From below those that the
    kernel gives to connections, or one of them could have it before it is bound, or connect it to itself."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as s:
        while True:
            port = FREE_PORTS[next(_nth) % len(FREE_PORTS)]
            try:
                s.bind((host, port))
                return port
            except OSError as e:
                if e.errno != errno.EADDRINUSE:
                    raise


def allow_descriptors(n):
    """At least so many for this process, as far as the hard limit goes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < n:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(n, hard), hard))
