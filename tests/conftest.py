# SPDX-License-Identifier: Apache-2.0
"""What every test shares: when a test may be skipped, and how random tests are run.

A test that needs root carries the marker `root` or `netns` and is skipped, with the reason, for anybody
else. A test against the reference implementation carries the marker `reference` and skips itself when the
environment does not name its binaries. Under `CI=true` no other skip is accepted: the run fails and lists
what was skipped.
"""

import os
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

_ALLOWED_SKIPS = pytest.StashKey[set[str]]()
_UNEXPECTED = pytest.StashKey[list[str]]()

# The machine may be busy, so the time that one example takes says nothing. In CI the examples are the same
# in every run; elsewhere they differ, which is how new ones are found.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("default"), derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "default")


def pytest_configure(config: pytest.Config) -> None:
    """Prepare the books about skipped tests."""
    config.stash[_ALLOWED_SKIPS] = set()
    config.stash[_UNEXPECTED] = []


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip what needs root when we are not, and note which tests may be skipped at all."""
    needs_root = pytest.mark.skip(reason="needs root")
    for item in items:
        if item.get_closest_marker("reference"):
            config.stash[_ALLOWED_SKIPS].add(item.nodeid)
        if os.geteuid() != 0 and (item.get_closest_marker("root") or item.get_closest_marker("netns")):
            item.add_marker(needs_root)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note every skipped test that is not one against the reference implementation."""
    report = yield
    skipped = report.skipped and not hasattr(report, "wasxfail")
    if skipped and item.nodeid not in item.config.stash[_ALLOWED_SKIPS]:
        item.config.stash[_UNEXPECTED].append(item.nodeid)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Note every module that skips itself as a whole."""
    report = yield
    if report.skipped:
        collector.config.stash[_UNEXPECTED].append(collector.nodeid)
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a CI run in which a test was skipped that should have run."""
    if os.environ.get("CI") == "true" and session.config.stash[_UNEXPECTED] and session.exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the figures that tests of whole networks found, and the skips that make a CI run fail."""
    _print_figures(terminalreporter)
    unexpected = config.stash[_UNEXPECTED]
    if unexpected and os.environ.get("CI") == "true":
        terminalreporter.section("skipped, but should have run", red=True)
        for nodeid in unexpected:
            terminalreporter.line(nodeid)


def _print_figures(terminal: pytest.TerminalReporter) -> None:
    passed: list[pytest.TestReport] = terminal.stats.get("passed", [])
    talking = [
        report for report in passed if report.capstdout and not report.nodeid.startswith("tests/unit/")
    ]
    if talking:
        terminal.section("figures")
    for report in talking:
        terminal.line(report.nodeid)
        for line in report.capstdout.splitlines():
            terminal.line(f"    {line}")
