# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests that run in network namespaces."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.network.lab import Lab

TOOLS = ("ip", "nft", "ss", "tc", "nsenter", "setpriv", "ping")


def missing_for_a_lab() -> str | None:
    """Say what this machine lacks for a lab, or None."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    if absent:
        return f"commands not found: {', '.join(absent)}"
    return None if Path("/dev/net/tun").exists() else "there is no /dev/net/tun"


def require_lab() -> None:
    """Skip the test where no lab can be built; in CI that is a failure."""
    reason = missing_for_a_lab()
    if reason and os.environ.get("CI"):
        pytest.fail(f"CI must run this test: {reason}")
    if reason:
        pytest.skip(reason)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """Provide an empty lab, cleaned up after the test."""
    require_lab()
    with Lab(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def module_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Provide a lab that all tests of a module share."""
    require_lab()
    with Lab(tmp_path_factory.mktemp("lab")) as made:
        yield made


@pytest.fixture
def pinecone_go() -> str:
    """Path of the reference's `pinecone`, from PINECONE_GO."""
    return reference("PINECONE_GO")


@pytest.fixture
def pineconeip_go() -> str:
    """Path of the reference's `pineconeip`, from PINECONEIP_GO."""
    return reference("PINECONEIP_GO")


def reference(variable: str) -> str:
    """Return a path from the environment, or skip."""
    path = os.environ.get(variable)
    if not path:
        pytest.skip(f"{variable} does not name the reference's binary")
    return path
