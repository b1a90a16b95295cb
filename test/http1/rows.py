# SPDX-License-Identifier: Apache-2.0
"""Reads the table of raw requests (README.md here tells the format)."""
import dataclasses
import pathlib
import re

ESCAPE = re.compile(r"\\(?:x([0-9a-f]{2})|\{(\d+)\*(.)\}|([rnt\\]))", re.S)
PLAIN = {"r": "\r", "n": "\n", "t": "\t", "\\": "\\"}


def unescape(text):
    """The bytes that an escaped text of the table stands for."""
    def one(m):
        if m[1]:
            return chr(int(m[1], 16))
        if m[2]:
            return m[3] * int(m[2])
        return PLAIN[m[4]]
    return ESCAPE.sub(one, text).encode("latin-1")


@dataclasses.dataclass
class Request:
    """What an upstream sees of one request."""
    method: bytes
    target: bytes
    fields: list = dataclasses.field(default_factory=list)
    dropped: list = dataclasses.field(default_factory=list)
    body: bytes = b""


@dataclasses.dataclass
class Row:
    id: str
    place: str
    rfc: str = ""
    note: str = ""
    sent: bytes = b""
    codec: str = ""
    gate: str = ""
    nginx: str = ""
    node: str = ""
    up: list = dataclasses.field(default_factory=list)


def add_field(into, text):
    name, _, value = unescape(text).partition(b":")
    into.append((name, value.strip(b" \t")))


def read_line(row, line):
    key, _, text = line.partition(" ")
    if key == "|":
        row.sent += unescape(text)
    elif key == "up:":
        method, _, target = unescape(text).partition(b" ")
        row.up.append(Request(method, target))
    elif key == "+":
        add_field(row.up[-1].fields, text)
    elif key == "~":
        add_field(row.up[-1].dropped, text)
    elif key == "body:":
        row.up[-1].body = unescape(text)
    elif key in ("rfc:", "note:", "codec:", "gate:", "nginx:", "node:"):
        setattr(row, key[:-1], text)
    else:
        raise ValueError(f"{row.place}: unknown line {line!r}")


def read_file(path):
    row = None
    for number, line in enumerate(path.read_text("latin-1").split("\n"), 1):
        if line.startswith("id: "):
            row = Row(line[4:], f"{path.name}:{number}")
            yield row
        elif line and not line.startswith("#"):
            read_line(row, line)


def read_all(folder=pathlib.Path(__file__).parent):
    """All rows of the table, by file name and place."""
    return [row for path in sorted(folder.glob("*.rows")) for row in list(read_file(path))]
