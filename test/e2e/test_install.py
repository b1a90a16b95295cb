# SPDX-License-Identifier: Apache-2.0
"""`make install`: what lands where, and whether those who read it (systemd, mandoc, bash) take it."""

import os
import re
import shutil
import subprocess

import pytest

TOP = os.path.abspath(f"{os.path.dirname(__file__)}/../..")
COMMANDS = ("up", "ctl", "check", "mock", "bench", "registry", "babysitter", "router", "help")
SYMLINKS = ("infini-registry", "infini-babysitter", "infini-router")
# The exposure that systemd may compute at most: those that run engines need devices and write code at run time.
UNITS = {"inferd": 2.4, "inferd-babysitter@": 2.4, "inferd-registry": 1.5, "inferd-router": 1.5}


def run(*command, **kw):
    return subprocess.run(command, capture_output=True, text=True, check=False, **kw)


def needs(program):
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed (scripts/deps ci)")


@pytest.fixture(scope="module", name="root")
def fixture_root(tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    done = run("make", "-s", "install", f"DESTDIR={root}", "PREFIX=/usr", cwd=TOP)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout == "", "a good installation is silent"
    return root


def text_of(root, path):
    with open(f"{root}/usr/{path}", encoding="utf-8") as f:
        return f.read()


def test_files(root):
    found = {os.path.relpath(os.path.join(folder, name), f"{root}/usr")
             for folder, _, names in os.walk(root) for name in names}
    assert found == {
        "bin/inferd", "lib/sysusers.d/inferd.conf", *(f"lib/systemd/system/{name}.service" for name in UNITS),
        "share/bash-completion/completions/inferd", "share/zsh/site-functions/_inferd",
        "share/fish/vendor_completions.d/inferd.fish", "share/man/man1/inferd.1", "share/man/man5/inferd.toml.5",
        *(f"bin/{name}" for name in SYMLINKS), *(f"share/man/man1/inferd-{c}.1" for c in COMMANDS)}
    for name in SYMLINKS:
        assert os.readlink(f"{root}/usr/bin/{name}") == "inferd"


def test_the_program_runs_and_is_the_same(root):
    program = f"{root}/usr/bin/inferd"
    version = run(program, "--version")
    assert version.returncode == 0 and version.stdout.startswith("inferd ")
    assert os.stat(program).st_mode & 0o777 == 0o755
    assert run(program, "help", "--format", "man", "up").stdout == text_of(root, "share/man/man1/inferd-up.1")
    symbols = run("readelf", "-S", program)
    assert symbols.returncode == 0 and ".debug_info" not in symbols.stdout, "installed stripped"


def unit_of(root, name):
    return text_of(root, f"lib/systemd/system/{name}.service")


@pytest.mark.parametrize("name", UNITS)
def test_unit_files_name_this_place(root, name):
    unit = unit_of(root, name)
    command = name.rstrip("@").partition("-")[2] or "up"
    assert re.search(f"^ExecStart=/usr/bin/inferd {command}\\b", unit, re.M)
    assert "@" not in re.sub(r"[@~]+[a-z-]+", "", unit.replace("babysitter@NAME", "")), "a placeholder was left"
    for rule in ("NoNewPrivileges=yes", "Type=notify", "ProtectSystem=strict", "User=inferd"):
        assert f"\n{rule}\n" in unit


@pytest.mark.parametrize("name", ["inferd", "inferd-babysitter@"])
def test_units_that_run_engines_leave_them_what_they_need(root, name):
    unit = unit_of(root, name)
    assert "\nKillMode=mixed\n" in unit
    for rule in ("TasksMax", "IPAddressDeny", "~@resources", "MemoryDenyWriteExecute=yes", "PrivateDevices=yes"):
        assert not re.search(f"^[^#]*{re.escape(rule)}", unit, re.M), rule


def installed(root, name, tmp_path):
    """The unit's path; of a template an instance, which systemd-analyze wants."""
    path = f"{root}/usr/lib/systemd/system/{name}.service"
    if name.endswith("@"):
        shutil.copy(path, tmp_path / f"{name}.service")
        return str(tmp_path / f"{name}.service"), str(tmp_path / f"{name}a.service")
    return path, path


@pytest.mark.parametrize("name, most", UNITS.items())
def test_systemd_rates_the_units(root, tmp_path, name, most):
    needs("systemd-analyze")
    path, _ = installed(root, name, tmp_path)
    done = run("systemd-analyze", "security", "--offline=true", "--no-pager", f"--threshold={int(most * 10)}", path)
    level = re.search(rf"Overall exposure level for {re.escape(name)}.*: ([0-9.]+)", done.stdout)
    assert level, done.stdout + done.stderr
    print(f"exposure {level[1]}")
    assert done.returncode == 0 and float(level[1]) <= most, done.stdout


@pytest.mark.parametrize("name", UNITS)
def test_systemd_understands_every_line_of_the_units(root, tmp_path, name):
    needs("systemd-analyze")
    _, instance = installed(root, name, tmp_path)
    done = run("systemd-analyze", "verify", "--man=no", instance)
    ours = [line for line in done.stderr.splitlines() if ".service:" in line and "is not executable" not in line
            and "not found" not in line]
    assert not ours, done.stderr


def test_manuals(root):
    needs("mandoc")
    for folder in ("man1", "man5"):
        for name in os.listdir(f"{root}/usr/share/man/{folder}"):
            done = run("mandoc", "-Tlint", "-Wwarning", f"{root}/usr/share/man/{folder}/{name}")
            assert done.returncode == 0 and done.stdout == "", done.stdout
            assert name.split(".")[0].upper().replace("-", "") in run(
                "mandoc", "-Tascii", f"{root}/usr/share/man/{folder}/{name}").stdout.replace("-", "")


def test_bash_takes_the_completion(root):
    script = f"{root}/usr/share/bash-completion/completions/inferd"
    assert run("bash", "-n", script).returncode == 0
    done = run("bash", "-c", f'. {script}; COMP_WORDS=(inferd u); COMP_CWORD=1; _inferd; echo "${{COMPREPLY[*]}}"')
    assert done.stdout == "up\n"
