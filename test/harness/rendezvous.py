# SPDX-License-Identifier: Apache-2.0
"""Which engine a session belongs to, by the words of docs/routing.md, in another language than the program's."""

import hashlib
import math

MASK = 2**64 - 1


def fnv1a(data):
    h = 0xcbf29ce484222325
    for byte in data:
        h = (h ^ byte) * 0x100000001b3 & MASK
    return h


def mix(h):
    h = (h ^ h >> 33) * 0xff51afd7ed558ccd & MASK
    h = (h ^ h >> 33) * 0xc4ceb9fe1a85ec53 & MASK
    return h ^ h >> 33


def hash64(data):
    left, right = data[:data.rindex(0xff) + 1], data[data.rindex(0xff) + 1:]
    return mix(mix(fnv1a(left)) ^ mix(fnv1a(right)))


def score(session, name, weight=1):
    u = (hash64(session.encode() + b"\xff" + name.encode()) + 0.5) / 2**64
    return -weight / math.log(u)


def home(session, weights):
    """`weights`: the engines that are candidates, by name."""
    return max(weights, key=lambda name: score(session, name, weights[name]))


def caller(element, program=""):
    """Who is behind a proxy, as the router's sessions name it."""
    return hashlib.sha256((element + program).encode()).hexdigest()[:16]
