# SPDX-License-Identifier: Apache-2.0
"""source - what the checkers in this folder share: which files there are, their text without comments
and strings, the exceptions, and how a finding is printed. No checker knows another.

A checker is `tools/NAME [ROOT]`; ROOT (default: this tree) lets tools/selftest show each of them a
tree with one thing wrong. tools/exceptions in that root holds lines `CHECK PATH NAME reason`: the
finding CHECK at PATH about NAME is allowed for that reason. One that no longer matches is a finding
itself, so the list can only shrink.
"""

import os
import re
import sys

SKIP = {"build", ".git", "corpus", "__pycache__"}
LITERALS = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def code_only(text):
    """The text with comments and the insides of literals blanked, every line where it was."""

    def blank(match):
        found = match.group(0)
        if found.startswith("/"):
            return re.sub(r"[^\n]", " ", found)
        return found[0] + " " * (len(found) - 2) + found[-1]

    return LITERALS.sub(blank, text)


class Check:
    def __init__(self, name, argv):
        self.name = name
        self.root = os.path.abspath(argv[1] if len(argv) > 1 else os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
        self.bad = 0
        self.allowed = {}
        path = os.path.join(self.root, "tools", "exceptions")
        if os.path.exists(path):
            with open(path, encoding="utf-8") as f:
                for number, line in enumerate(f, 1):
                    words = line.split("#")[0].split(None, 3)
                    if words and words[0] == name:
                        if len(words) < 4:
                            self.print("tools/exceptions", number, "an exception needs CHECK PATH NAME reason")
                        self.allowed[tuple(words[1:3])] = number

    def files(self, folders, endings):
        for folder in folders:
            for where, folders_here, names in os.walk(os.path.join(self.root, folder)):
                folders_here[:] = sorted(d for d in folders_here if d not in SKIP)
                for name in sorted(names):
                    if name.endswith(tuple(endings)):
                        yield os.path.relpath(os.path.join(where, name), self.root)

    def read(self, path):
        with open(os.path.join(self.root, path), encoding="utf-8") as f:
            return f.read()

    def print(self, path, line, text):
        print(f"{path}:{line}: {text} [{self.name}]")
        self.bad += 1

    def finding(self, path, line, name, text):
        """Prints it unless tools/exceptions allows NAME at PATH."""
        if (path, name) in self.allowed:
            self.allowed[(path, name)] = None
        else:
            self.print(path, line, text)

    def finish(self):
        for (path, name), number in self.allowed.items():
            if number is not None:
                self.print("tools/exceptions", number, f"{path} {name}: no longer needed, remove the line")
        print(f"{self.name}: {self.bad} findings")
        sys.exit(1 if self.bad else 0)
