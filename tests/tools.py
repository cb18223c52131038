# SPDX-License-Identifier: Apache-2.0
"""Programs that tests need and that are not Python's."""

import os
import shutil

import pytest


def require_tool(name: str) -> None:
    """Skip the test where this program is not installed; in CI that is a failure."""
    if shutil.which(name) is not None:
        return
    if os.environ.get("CI"):
        pytest.fail(f"CI must run this test, but {name} is not installed")
    pytest.skip(f"{name} is not installed")
