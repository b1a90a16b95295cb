# SPDX-License-Identifier: Apache-2.0
"""`inferd check`, `inferd help` and the words before any command: which file, what is wrong with it, what came from
where, and the exit status of each answer."""

import os
import subprocess
import tomllib

import pytest

from harness.tree import PROGRAM, sanitizer_env
from harness.wait import SLOW


@pytest.fixture(name="run")
def fixture_run(tmp_path):
    """Runs the program in a directory of its own, with nothing of the caller's environment but the path."""

    def run(*args, env=None, cwd=None, before=()):
        full = {"PATH": os.environ["PATH"], "HOME": str(tmp_path / "home"), **sanitizer_env(tmp_path), **(env or {})}
        done = subprocess.run([*before, PROGRAM, *map(str, args)], capture_output=True, text=True, env=full,
                              cwd=cwd or tmp_path, timeout=30 * SLOW, check=False)
        assert not [f for f in os.listdir(tmp_path) if f.startswith("report")], "a sanitizer had something to say"
        return done

    return run


def refused(done, *lines):
    assert done.returncode == 1, done
    assert done.stdout == ""
    assert done.stderr.splitlines() == [f"Error: {line}" for line in lines]


def fine(done):
    assert done.returncode == 0 and done.stderr == "", done
    return done.stdout


GOOD = """\
lanes = 3
[[engine]]
name = "tiny"
command = ["llama-server", "--port", "${PORT}"]
models = ["tiny"]
[[remote]]
name = "gpu1"
url = "http://10.0.0.5:8000"
models = ["llama-70b"]
[model."gpt-4o"]
target = "tiny"
"""


@pytest.mark.smoke
def test_a_good_file(run, tmp_path):
    (tmp_path / "inferd.toml").write_text(GOOD)
    assert fine(run("check")) == "./inferd.toml: ok, 1 engine, 1 remote, 1 alias\n"


@pytest.mark.smoke
def test_all_mistakes_with_file_line_and_column(run, tmp_path):
    (tmp_path / "inferd.toml").write_text("""\
lane = 3
[[engine]]
name = "tiny"
command = "llama-server --port ${PORT}"
  slots = 70000
[[remote]]
name = "gpu1"
url = "https://api.example/v1"
[limits]
queue_ms = "soon"
""")
    refused(run("check"),
            "./inferd.toml:1:1: lane: unknown key (did you mean `lanes`?)",
            '''./inferd.toml:4:1: engine[0].command: must be a list of strings, not a string: write command = '''
            '''["llama-server", "--port", "${PORT}"]''',
            "./inferd.toml:5:3: engine[0].slots: 70000 is too large: at most 65535",
            '''./inferd.toml:8:1: remote[0].url: "https://api.example/v1" asks for TLS, which inferd does not speak yet: '''
            '''put http:// here, or a proxy in between''',
            "./inferd.toml:10:1: limits.queue_ms: must be an integer, not a string")


def test_users_that_there_are_not(run, tmp_path):
    """`inferd up` would not start with them, and a reload would refuse them."""
    (tmp_path / "inferd.toml").write_text("""\
[[engine]]
name = "tiny"
command = ["llama-server", "--port", "${PORT}"]
user = "no-such-user"
[process]
user = "nor-this-one"
""")
    refused(run("check"), '''./inferd.toml:4:1: engine[0].user: there is no user "no-such-user"''',
            '''./inferd.toml:6:1: process.user: there is no user "nor-this-one"''')
    fine(run("check", "--config", "/dev/null", "--process-user", "root"))


def test_what_is_no_toml(run, tmp_path):
    (tmp_path / "inferd.toml").write_text("lanes = 3\nlisten = [\n")
    done = run("check")
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ./inferd.toml:2:") and done.stderr.count("\n") == 1


def test_which_file_is_read(run, tmp_path):
    for number, name in enumerate(("flag.toml", "env.toml", "inferd.toml", "home/.config/inferd/inferd.toml"), 1):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"lanes = {number}\n")
    env = {"INFERD_CONFIG": str(tmp_path / "env.toml")}

    def lanes(*args, env=None):
        return tomllib.loads(fine(run("check", "--dump", *args, env=env)))["lanes"]

    assert lanes("--config", "flag.toml", env=env) == 1
    assert lanes(env=env) == 2
    assert lanes() == 3
    (tmp_path / "inferd.toml").unlink()
    assert lanes() == 4


def test_the_last_place_is_etc(run, tmp_path):
    """In a mount namespace with an /etc of the test's own."""
    script = tmp_path / "etc.sh"
    script.write_text('mount -t tmpfs none /etc && mkdir /etc/inferd && printf "%s" "$LINE" >/etc/inferd/inferd.toml '
                      '&& shift 0 && exec "$@"\n')
    before = ["unshare", "--mount", "--map-root-user", "sh", str(script)]
    probe = subprocess.run([*before, "true"], capture_output=True, text=True, check=False, env={**os.environ, "LINE": ""})
    if probe.returncode != 0:
        pytest.skip(f"needs a mount namespace of its own: {probe.stderr.strip()}")
    env = {"LINE": "lanes = 5\n"}
    assert fine(run("check", env=env, before=before)) == "/etc/inferd/inferd.toml: ok, 0 engines, 0 remotes, 0 aliases\n"
    home = tmp_path / "home/.config/inferd/inferd.toml"
    home.parent.mkdir(parents=True)
    home.write_text("lanes = 6\n")
    assert fine(run("check", env=env, before=before)).startswith(f"{home}: ok")


def test_a_file_that_was_named_must_be_there(run, tmp_path):
    (tmp_path / "inferd.toml").write_text(GOOD)
    refused(run("check", "--config", "gone.toml"), "gone.toml: cannot be read: not found")
    refused(run("check", env={"INFERD_CONFIG": "gone.toml"}), "gone.toml: cannot be read: not found")


def test_no_file_at_all(run):
    if os.path.exists("/etc/inferd/inferd.toml"):
        pytest.skip("this machine has an /etc/inferd/inferd.toml")
    assert fine(run("check")) == "no configuration file: ok, the built-in mock and what runs on loopback\n"


def test_dump_shows_every_value_and_where_it_is_from(run, tmp_path):
    (tmp_path / "key").write_text("sk-secret")
    (tmp_path / "key").chmod(0o600)
    (tmp_path / "inferd.toml").write_text(GOOD + '[limits]\nqueue_ms = 1\nidle_ms = 2\nhead_ms = 3\n'
                                          '[[remote]]\nname = "r"\nurl = "http://x"\napi_key_file = "key"\n'
                                          '[[engine]]\nname = "e"\ncommand = ["x", "${PORT}"]\nenv = { TOKEN = "hush" }\n')
    text = fine(run("check", "--dump", "--limits-queue-ms=7", "--listen", "127.0.0.1:1",
                    env={"INFERD_LIMITS_IDLE_MS": "8", "INFERD_LIMITS_QUEUE_MS": "9"}))
    origin = {line.split(" = ")[0]: line.rpartition("# ")[2] for line in text.splitlines() if " = " in line}
    value = tomllib.loads(text)
    assert value["limits"]["queue_ms"] == 7 and origin["queue_ms"] == "--limits-queue-ms"
    assert value["limits"]["idle_ms"] == 8 and origin["idle_ms"] == "INFERD_LIMITS_IDLE_MS"
    assert value["limits"]["head_ms"] == 3 and origin["head_ms"] == "./inferd.toml:15"
    assert value["limits"]["stall_ms"] == 30000 and origin["stall_ms"] == "default"
    assert value["listen"] == [{"address": "127.0.0.1:1", "hosts": [], "origins": []}] and origin["address"] == "--listen"
    assert value["model"]["gpt-4o"]["target"] == "tiny" and origin["target"] == "./inferd.toml:11"
    assert [e["name"] for e in value["engine"]] == ["tiny", "e"]
    assert "hush" not in text and "sk-secret" not in text and 'TOKEN = "***"' in text


def test_a_dump_can_be_read_again(run, tmp_path):
    (tmp_path / "inferd.toml").write_text(GOOD)
    first = fine(run("check", "--dump"))
    (tmp_path / "again.toml").write_text(first)
    again = fine(run("check", "--dump", "--config", "again.toml"))
    assert tomllib.loads(first) == tomllib.loads(again)


def test_keys_that_others_can_read(run, tmp_path):
    (tmp_path / "key").write_text("sk-secret")
    (tmp_path / "key").chmod(0o640)
    (tmp_path / "inferd.toml").write_text('[[remote]]\nname = "r"\nurl = "http://x"\napi_key_file = "key"\n')
    refused(run("check"), './inferd.toml:4:1: remote[0].api_key_file: "key" can be read or changed by others: chmod 600 it')


def test_off_loopback_needs_insecure(run):
    refused(run("check", "--listen", "0.0.0.0:8900"),
            "--listen: listen[0].address: is not a loopback address, and there are no keys: anyone who reaches it could "
            "use the models. keys.file names some, --insecure allows it without")
    fine(run("check", "--listen", "0.0.0.0:8900", "--insecure"))


@pytest.mark.parametrize("args, message", [
    (["--lane=1"], "unknown flag --lane (did you mean --lanes?)"),
    (["--lanes"], "--lanes: needs a value"),
    (["--lanes=0"], "--lanes: 0 is too small: at least 1"),
    (["--log-level=loud"], '--log-level: must be one of "off", "error", "warn", "info", "debug", "trace"'),
    (["now"], 'unexpected argument "now"'),
])
def test_a_wrong_flag_is_status_2(run, args, message):
    done = run("check", *args)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.splitlines()[0] == f"inferd check: {message}"
    assert "usage: inferd check [flags]" in done.stderr


def test_a_full_disk_is_no_success(run):
    with open("/dev/full", "w", encoding="utf-8") as full:
        for args in (["check"], ["check", "--dump"], ["help"], ["help", "--format", "markdown"]):
            done = subprocess.run([PROGRAM, *args], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
            assert done.returncode == 1 and "cannot write to stdout" in done.stderr, done


# the words before any command


@pytest.mark.smoke
def test_version_and_overview(run):
    version = fine(run("--version"))
    assert version.split()[0] == "inferd" and version.split()[1][0].isdigit()
    assert fine(run("check", "--version")) == version
    overview = fine(run("--help"))
    assert overview == fine(run("-h")) == fine(run("help"))
    for command in ("check", "help", "mock"):
        assert f"\n  {command} " in overview
    done = run()
    assert done.returncode == 2 and overview in done.stderr and "which command?" in done.stderr


def test_unknown_commands_name_the_nearest(run):
    done = run("chekc")
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.splitlines()[0] == 'inferd: unknown command "chekc" (did you mean check?)'
    assert run("frobnicate").stderr.splitlines()[0] == 'inferd: unknown command "frobnicate"'
    assert run("help", "chekc").stderr == 'inferd help: no page "chekc" (did you mean check?)\n'
    assert run("help", "chekc").returncode == 2


def test_help_pages(run):
    text = fine(run("help", "check"))
    assert text == fine(run("check", "--help")) == fine(run("check", "-h")) == fine(run("help", "inferd-check"))
    assert text.startswith("usage: inferd check [flags]\n") and "--limits-queue-ms N" in text
    assert fine(run("help", "--format", "man", "inferd.toml")).startswith(".TH INFERD.TOML 5 ")
    assert fine(run("help", "--format", "man", "check")).startswith(".TH INFERD\\-CHECK 1 ")
    assert run("help", "--format", "man", "nothing").returncode == 2
    with open(f"{os.path.dirname(__file__)}/../../docs/config.md", encoding="utf-8") as f:
        assert fine(run("help", "--format", "markdown")) == f.read(), "run `make docs`"
