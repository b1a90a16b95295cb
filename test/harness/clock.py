# SPDX-License-Identifier: Apache-2.0
"""A wall clock that a test turns, under whatever it starts with env(): clock.c, preloaded."""

import os
import struct
import subprocess

from harness.tree import PROGRAM

SOURCE = os.path.join(os.path.dirname(__file__), "clock.c")


class Clock:
    """The offset of the wall clock for all that was started with env(), in seconds."""

    def __init__(self, folder):
        self.library = f"{folder}/clock.so"
        subprocess.run(["cc", "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o", self.library, SOURCE], check=True)
        with open(self.library + ".offset", "wb") as f:
            f.write(bytes(8))
        self.file = open(self.library + ".offset", "r+b", buffering=0)

    def env(self):
        """The sanitizer's library wants to be the first, where the program has one."""
        linked = subprocess.run(["ldd", PROGRAM], capture_output=True, text=True, check=True).stdout
        asan = [line.split("=>")[1].split()[0] for line in linked.splitlines() if "libasan" in line]
        return {"LD_PRELOAD": ":".join([*asan, self.library])}

    def turn(self, seconds):
        os.pwrite(self.file.fileno(), struct.pack("q", seconds), 0)
