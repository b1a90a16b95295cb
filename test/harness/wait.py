# SPDX-License-Identifier: Apache-2.0
"""Waiting for something to become true. Never a sleep for luck: a condition and a deadline."""

import os
import time

# Sanitizers and busy machines: every deadline of the tests is multiplied by this.
SLOW = float(os.environ.get("INFERD_TEST_SLOW", "3"))


def until(condition, what, seconds=5.0, every=0.01):
    """Returns condition()'s first true value; fails, saying `what`, after `seconds` times SLOW."""
    end = time.monotonic() + seconds * SLOW
    last = None
    while True:
        try:
            last = condition()
            error = None
        except (OSError, ValueError, LookupError) as e:
            last, error = None, e
        if last:
            return last
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds * SLOW:.0f} s: {what}" + (f" ({error!r})" if error else ""))
        time.sleep(every)
        every = min(every * 1.5, 0.1)


def never(condition, what, seconds):
    """Fails if condition() becomes true within `seconds`: for what must not happen."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert not condition(), what
        time.sleep(0.01)


class Stopwatch:
    def __init__(self):
        self.began = time.monotonic()

    def seconds(self):
        return time.monotonic() - self.began
