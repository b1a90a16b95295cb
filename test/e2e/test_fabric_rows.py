# SPDX-License-Identifier: Apache-2.0
"""docs/fabric-tests.md: every row names tests, and every test it names is there."""

import glob
import os
import re

TOP = os.path.abspath(f"{os.path.dirname(__file__)}/../..")


def rows():
    """number -> names of tests"""
    with open(f"{TOP}/docs/fabric-tests.md", encoding="utf-8") as f:
        found = re.findall(r"^\| B(\d+) \|.*\| ([^|]*) \|$", f.read(), re.M)
    return {int(number): re.findall(r"`([^`]+)`", names) for number, names in found}


def defines(path, name):
    with open(path, encoding="utf-8") as f:
        text = f.read()
    wanted = rf"^def {name}\(" if path.endswith(".py") else rf"^(static void |SCENARIO\(|.*\b){name}\b"
    return re.search(wanted, text, re.M)


def test_every_row_has_its_tests():
    found = rows()
    assert sorted(found) == list(range(1, 27))
    for number, names in found.items():
        assert names, f"B{number}"
        for name in names:
            file, _, function = name.partition("::")
            paths = glob.glob(f"{TOP}/test/*/{file}")
            assert len(paths) == 1 and function, f"B{number}: {name}"
            assert defines(paths[0], function), f"B{number}: {name} is not there"
