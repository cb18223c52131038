# SPDX-License-Identifier: Apache-2.0
"""pineconed's Debian package under a higher version, for upgrades."""

import re
import shutil
from pathlib import Path

from tests.network.lab import run


def next_version(package: Path, folder: Path) -> Path:
    """Rebuild a package under a higher version, which its programs show, too."""
    tree = folder / "next"
    run(["dpkg-deb", "-R", str(package), str(tree)])
    control = tree / "DEBIAN/control"
    version = re.search(r"^Version: (.*)$", control.read_text(), re.MULTILINE)
    assert version is not None
    newer = f"{version[1]}+next"
    control.write_text(control.read_text().replace(f"Version: {version[1]}\n", f"Version: {newer}\n"))
    module = next(tree.glob("usr/lib/pineconed/lib/python3*/site-packages/pineconed/__init__.py"))
    module.write_text(re.sub(r'__version__ = ".*"', f'__version__ = "{newer}"', module.read_text()))
    built = folder / f"pineconed_{newer}.deb"
    run(["dpkg-deb", "-Zxz", "-z0", "-b", str(tree), str(built)], timeout=60.0)
    shutil.rmtree(tree)
    return built
