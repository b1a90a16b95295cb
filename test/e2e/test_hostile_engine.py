# SPDX-License-Identifier: Apache-2.0
"""An engine whose every reply is damaged in another way: the gateway lives, nobody is told a false end, nobody
gets another's words, and a connection on which unexpected bytes came is not used again."""

from harness import liar


def test_an_engine_that_lies(bench):
    seen = liar.run(bench, 2000)
    assert seen[liar.CLEAN, 200] > 200 and seen[liar.CUT, "cut"] > 100 and seen[liar.CUT, 502] > 100, seen
    assert seen[liar.HEAD, 502] > 150 and seen[liar.FRAMING, "cut"] > 20, seen
