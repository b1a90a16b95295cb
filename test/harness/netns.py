# SPDX-License-Identifier: Apache-2.0
"""Several machines for one test: hosts with a network namespace and an address each, on one switch, which
stands in the test's own namespace. So the test has an address there, too (.254), and reaches every host.

    lan = bench.lan("one", "two")
    with lan.one:                               # this thread, and whatever it starts, is on that host
        r = bench.registry(args=["--listen", lan.one.address, "--insecure"])
    raw.get(f"{lan.one.address}:8081", "/health")

What can happen to them, none of it with rules of a firewall:

lan.drop(a, b)   packets between the two vanish, both ways: each holds a wrong hardware address of the other,
                 which the switch delivers to nobody. Nobody is told: a connect runs into its timeout, an open
                 connection falls silent.
host.unplug()    the cable is out: the same for everybody, until the kernel that asks in vain for the
                 hardware address says "no route to host" (after some 3 s), as on a real network.
lan.lose(host, share)   its cable loses packets at random, both ways, for good.
lan.heal()       all but that is over. What was unsent is sent again when TCP's timer says so.
host.halt(...)   the machine loses power: the cable first, then SIGKILL for the processes named, so that no
                 FIN and no RST leaves it.

`ip` (iproute2) makes the links. Namespaces are held by descriptors: they go when the test's process does."""

import array
import fcntl
import os
import random
import select
import socket
import struct
import subprocess
import threading

from harness import net

PREFIX = "10.77.0"
NOBODY = "02:00:00:00:ff:ff"


class Impossible(Exception):
    """There are no hosts to be had here, and why."""


def _ip(*words):
    try:
        done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise Impossible("ip is not installed (iproute2)") from None
    if done.returncode != 0:
        raise Impossible(f"ip {' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


SIOCETHTOOL, STXCSUM = 0x8946, 0x17


def _checksums_in_software(interface):
    """Frames that pass through a program carry the checksums that their sender's kernel left to hardware."""
    value = array.array("I", [STXCSUM, 0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        fcntl.ioctl(s, SIOCETHTOOL, struct.pack("16sP", interface.encode(), value.buffer_info()[0]))


class Cable:
    """Carries frames between two interfaces of this namespace and loses a share of them."""

    def __init__(self, one, other, share):
        self.share, self.dice, self.lost, self.over = share, random.Random(1), 0, False
        self.ends = [socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) for _ in range(2)]
        for end, interface in zip(self.ends, (one, other)):
            end.bind((interface, 0))
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self.over:
            for end in select.select(self.ends, [], [], 0.1)[0]:
                frame, (_, _, kind, _, _) = end.recvfrom(70000)
                if kind == socket.PACKET_OUTGOING:
                    continue
                if self.dice.random() < self.share:
                    self.lost += 1
                    continue
                try:
                    self.ends[end is self.ends[0]].send(frame)
                except OSError:
                    self.lost += 1

    def close(self):
        self.over = True
        self.thread.join()
        for end in self.ends:
            end.close()


class Host:
    """`with host:` puts the calling thread there. Its address is reachable from all others."""

    def __init__(self, lan, number, name):
        self.name, self.address, self.port = name, f"{PREFIX}.{number}", f"port{number}"
        self.mac = f"02:00:00:00:00:{number:02x}"
        with lan.switch:
            why = net.enter()
            if why:
                raise Impossible(f"no network namespace: {why}")
            self.namespace = net.Namespace()
            self.inode = net.identity()
        path = self.namespace.path
        _ip("link", "add", self.port, "type", "veth", "peer", "name", "eth0", "address", self.mac, "netns", path)
        _ip("link", "set", self.port, "master", "switch", "up")
        with self:
            _ip("addr", "add", f"{self.address}/24", "dev", "eth0")
            _ip("link", "set", "eth0", "up")

    def __enter__(self):
        self.namespace.__enter__()
        return self

    def __exit__(self, *error):
        self.namespace.__exit__(*error)

    def unplug(self):
        _ip("link", "set", self.port, "down")

    def plug(self):
        _ip("link", "set", self.port, "up")

    def halt(self, *trees):
        self.unplug()
        for tree in trees:
            tree.kill()

    def _know(self, address, mac):
        """The hardware address of `address`, for good; None: to be asked for."""
        with self:
            if mac:
                _ip("neigh", "replace", address, "lladdr", mac, "dev", "eth0", "nud", "permanent")
            else:
                _ip("neigh", "flush", "to", address, "dev", "eth0", "nud", "all")


class Lan:
    """The switch and its hosts, as attributes. Made and ended by the test's bench."""

    def __init__(self, *names):
        self.switch, self.hosts, self.cut, self.cables = net.Namespace(), [], [], []
        _ip("link", "add", "switch", "type", "bridge")
        _ip("link", "set", "switch", "up")
        _ip("addr", "add", f"{PREFIX}.254/24", "dev", "switch")
        for number, name in enumerate(names, 1):
            host = Host(self, number, name)
            self.hosts.append(host)
            setattr(self, name, host)

    def drop(self, one, other):
        for a, b in ((one, other), (other, one)):
            a._know(b.address, NOBODY)
        self.cut.append((one, other))

    def lose(self, host, share):
        """Returns the cable, whose `lost` counts what it lost."""
        with self.switch:
            inner, outer = f"{host.port}in", f"{host.port}out"
            _ip("link", "add", inner, "type", "veth", "peer", "name", outer)
            _ip("link", "set", host.port, "nomaster")
            _ip("link", "set", outer, "master", "switch", "up")
            _ip("link", "set", inner, "up")
            _checksums_in_software("switch")
            self.cables.append(Cable(host.port, inner, share))
        for other in self.hosts:
            with other:
                _checksums_in_software("eth0")
        return self.cables[-1]

    def heal(self):
        for one, other in self.cut:
            for a, b in ((one, other), (other, one)):
                a._know(b.address, None)
        self.cut.clear()
        for host in self.hosts:
            host.plug()

    def inhabitants(self):
        """Processes that live on any of the hosts."""
        homes = {host.inode for host in self.hosts}
        return [int(p) for p in os.listdir("/proc") if p.isdigit() and net.identity(p) in homes]

    def close(self):
        for cable in self.cables:
            cable.close()
        for host in self.hosts:
            host.namespace.close()
        self.switch.close()
