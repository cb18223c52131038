# SPDX-License-Identifier: Apache-2.0
"""What every test shares: when a test may be skipped, and how random tests are run.

A test that needs root carries the marker `root`, `netns` or `system` and is skipped, with the reason, for
anybody else. A test against the reference implementation carries the marker `reference` and skips itself
when the environment does not name its binaries. Under `CI=true` no other skip is accepted: such a test fails.
"""

import os
from collections.abc import Generator

import pytest
from hypothesis import HealthCheck, settings

# The machine may be busy, so the time that one example takes says nothing. In CI the examples are the same
# in every run; elsewhere they differ, which is how new ones are found.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("default"), derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "default")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs root when we are not."""
    needs_root = pytest.mark.skip(reason="needs root")
    for item in items:
        if os.geteuid() != 0 and any(item.get_closest_marker(name) for name in ("root", "netns", "system")):
            item.add_marker(needs_root)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a skipped test in CI that is not one against the reference implementation."""
    report = yield
    if not (item.get_closest_marker("reference") or hasattr(report, "wasxfail")):
        _fail_a_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Fail a module in CI that skips itself as a whole."""
    report = yield
    _fail_a_skip(report)
    return report


def _fail_a_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.skipped and os.environ.get("CI") == "true":
        report.outcome = "failed"
        report.longrepr = f"skipped, but should have run: {report.longreprtext}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures that tests of whole networks found."""
    passed: list[pytest.TestReport] = terminalreporter.stats.get("passed", [])
    talking = [
        report for report in passed if report.capstdout and not report.nodeid.startswith("tests/unit/")
    ]
    if talking:
        terminalreporter.section("figures")
    for report in talking:
        terminalreporter.line(report.nodeid)
        for line in report.capstdout.splitlines():
            terminalreporter.line(f"    {line}")
