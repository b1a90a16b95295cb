# SPDX-License-Identifier: Apache-2.0
"""`inferd chaos`: the whole table against an inferd of its own, and the command line."""

import json
import os
import subprocess

from harness.tree import PROGRAM, sanitizer_env
from harness.wait import SLOW


def chaos(folder, *words, seconds=120):
    return subprocess.run([PROGRAM, "chaos", *words], capture_output=True, text=True, timeout=seconds * SLOW, check=False,
                          env=dict(os.environ, TMPDIR=str(folder), INFERD_SANDBOX="kill", **sanitizer_env(folder)))


def test_the_table(tmp_path):
    """Every row pass or safe, none fail; what is left of it is nothing."""
    done = chaos(tmp_path, "--json", "--patience", "3")
    report = json.loads(done.stdout)
    told = "\n".join(f"{r['name']}: {r['verdict']}: {r['seen']}; {r['note']}" for r in report["rows"])
    assert report["fail"] == 0 and done.returncode == 0, told + done.stderr
    assert report["missed"] == 0, told
    assert len(report["rows"]) >= 16 and report["pass"] + report["safe"] == len(report["rows"])
    assert not [f for f in os.listdir(tmp_path) if f.startswith("inferd-chaos")], "its folder is gone"


def test_one_row(tmp_path):
    done = chaos(tmp_path, "--only", "stream-reset", "--patience", "20")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = done.stdout.splitlines()
    assert rows[0].startswith("stream-reset") and " pass " in rows[0]
    assert rows[-1] == "1 pass, 0 safe, 0 fail"


def test_the_list_names_every_row(tmp_path):
    done = chaos(tmp_path, "--list")
    names = [line.split()[0] for line in done.stdout.splitlines() if not line.startswith(" ")]
    assert done.returncode == 0 and len(names) == len(set(names)) >= 16


def test_a_target_that_is_not_there(tmp_path, bench):
    engines = [bench.engine() for _ in range(3)]  # for ports that nobody has
    for engine in engines:
        engine.close()
    done = chaos(tmp_path, "--target", engines[0].url, "--engine-ports", f"{engines[1].port},{engines[2].port}")
    assert done.returncode == 1 and "no request to the gateway reaches an engine" in done.stderr


def test_wrong_flags(tmp_path):
    for words in (["--only", "no-such-row"], ["--target", "http://127.0.0.1:1"], ["--engine-ports", "1,2"],
                  ["--target", "http://127.0.0.1:1", "--engine-ports", "7,7"],
                  ["--target", "http://192.0.2.1:1", "--engine-ports", "7,8"], ["--header", "x"]):
        done = chaos(tmp_path, *words)
        assert done.returncode == 2 and done.stderr.startswith("inferd chaos: --"), (words, done.stderr)
