# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the end-to-end and fault tests: see harness/__init__.py for what they promise."""

import faulthandler
import os
import signal
import sys

import pytest

from harness import fake, net, netns
from harness.fabric import Registry, Router, Sitter
from harness.gateway import Gateway, Mock
from harness.tree import PROGRAM, Tree, end_stragglers
from harness.wait import SLOW

TEST_SECONDS = 120  # times SLOW: a test that hangs says where


def pytest_configure(config):
    """Who runs in the background of a shell ignores SIGINT, and so would all that is started here."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header(config):
    lines = [f"program: {PROGRAM}, lanes: {os.environ.get('INFERD_TEST_LANES', '2')}, deadlines times {SLOW:g}"]
    if not os.path.exists(PROGRAM):
        pytest.exit(f"{PROGRAM} is not there: build it, or set INFERD", returncode=3)
    return lines


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """Keeps each phase's report where fixtures find it, and tells the trees' stories on failure."""
    outcome = yield
    report = outcome.get_result()
    setattr(item, f"report_{report.when}", report)
    if report.failed:
        for story in getattr(item, "stories", []):
            report.sections.append(("process tree", story()))


@pytest.fixture(autouse=True)
def deadline(request):
    def too_long(*_):
        faulthandler.dump_traceback(file=sys.__stderr__)
        raise TimeoutError(f"the test ran for {TEST_SECONDS * SLOW:.0f} s")

    seconds = TEST_SECONDS * (20 if request.node.get_closest_marker("full") else 1)
    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(int(seconds * SLOW))
    yield
    signal.alarm(0)


@pytest.fixture(autouse=True)
def network(request):
    """True: this test has a network of its own."""
    why = net.enter()
    if why and request.node.get_closest_marker("published") and net.taken():
        pytest.skip(f"ports {net.taken()} are taken, and there is no network namespace: {why}")
    if why and not getattr(request.config, "told_no_namespace", False):
        request.config.told_no_namespace = True
        print(f"no network namespace ({why}): tests run on the host's loopback", file=sys.__stderr__)
    return why is None


class Bench:
    """Starts what a test needs, and ends and judges it afterwards."""

    def __init__(self, folder, private):
        self.folder, self.private = folder, private
        self.trees, self.engines, self.count = [], [], 0
        self.lans = []
        self.stories = []

    def new_folder(self, name):
        self.count += 1
        return f"{self.folder}/{self.count}-{name}"

    def tree(self, command, name="command", **kw):
        return self.register(Tree(command, self.new_folder(name), name, **kw))

    def mock(self, name="mock", **kw):
        return self.register(Mock.__new__(Mock), self.new_folder(name), name=name, **kw)

    def up(self, config=None, **kw):
        return self.register(Gateway.__new__(Gateway), self.new_folder("up"), config=config, **kw)

    def registry(self, **kw):
        return self.register(Registry.__new__(Registry), self.new_folder("registry"), **kw)

    def router(self, **kw):
        return self.register(Router.__new__(Router), self.new_folder("router"), **kw)

    def sitter(self, **kw):
        return self.register(Sitter.__new__(Sitter), self.new_folder("sitter"), **kw)

    def register(self, tree, *args, **kw):
        """Known before it is initialised: a start that fails still tells its story and is ended."""
        self.trees.append(tree)
        self.stories.append(lambda: tree.story() if hasattr(tree, "process") else "")
        if args:
            tree.__init__(*args, **kw)
        return tree

    def engine(self, script=fake.answer_chat, **kw):
        engine = fake.Engine(script, **kw)
        self.engines.append(engine)
        return engine

    def lan(self, *names):
        """Hosts on a switch (harness/netns.py); skips the test, with the reason, where there can be none."""
        if not self.private:
            pytest.skip("several hosts need network namespaces, and there are none here")
        try:
            lan = netns.Lan(*names)
        except netns.Impossible as why:
            pytest.skip(f"several hosts cannot be made here: {why}")
        self.lans.append(lan)
        return lan

    def path(self, name):
        return f"{self.folder}/{name}"

    def finish(self):
        """Ends everything; returns what is wrong with the end. The bench can be used again."""
        problems = []
        for tree in reversed(self.trees):
            if hasattr(tree, "process"):
                problems += tree.stop()
        for engine in self.engines:
            engine.close()
            problems += [f"a fake engine's script failed:\n{p}" for p in engine.problems]
        if self.private:
            problems += [f"left running: {p}" for p in end_stragglers(net.inhabitants())]
        for lan in self.lans:
            problems += [f"left running: {p}" for p in end_stragglers(lan.inhabitants())]
            lan.close()
        self.trees, self.engines, self.lans = [], [], []
        if not problems:
            self.stories.clear()
        return problems


@pytest.fixture
def bench(request, tmp_path, network):
    os.chmod(tmp_path, 0o755)
    for parent in tmp_path.parents:  # a gateway that dropped its rights must reach its folder
        if os.stat(parent).st_mode & 0o001 == 0:
            os.chmod(parent, 0o755)
    b = Bench(tmp_path, network)
    request.node.stories = b.stories
    yield b
    problems = b.finish()
    assert not problems, "\n".join(problems)
