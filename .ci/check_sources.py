# SPDX-License-Identifier: Apache-2.0
"""Check what the linters do not: the licence line, a docstring, and the size of modules and functions."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

LICENCE = "SPDX-License-Identifier: Apache-2.0"
MAX_MODULE_LINES = 450
MAX_FUNCTION_LINES = 60
SCRIPT_FOLDERS = (".ci", "contrib", "packaging")


def tracked_files() -> list[Path]:
    """Return every file under version control, or about to be."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, check=True, capture_output=True, text=True)
    return [path for line in listing.stdout.splitlines() if (path := Path(line)).is_file()]


def is_script(path: Path) -> bool:
    """Whether a file without a suffix is a shell script of ours."""
    return path.parts[0] in SCRIPT_FOLDERS and not path.suffix and path.read_bytes().startswith(b"#!")


def complaints(path: Path) -> Iterator[str]:
    """Yield one line for everything that is wrong with a file."""
    lines = path.read_text().splitlines()
    if not any(LICENCE in line for line in lines[:2]):
        yield f"{path}:1: the first line has to be '# {LICENCE}'"
    if path.suffix != ".py":
        return
    if len(lines) > MAX_MODULE_LINES:
        yield f"{path}: {len(lines)} lines; the limit is {MAX_MODULE_LINES}"
    tree = ast.parse("\n".join(lines))
    if ast.get_docstring(tree) is None:
        yield f"{path}:1: a module begins with a docstring that tells what it is for"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > MAX_FUNCTION_LINES:
                where = f"{path}:{node.lineno}: {node.name}"
                yield f"{where} has {length} lines; the limit is {MAX_FUNCTION_LINES}"


def main() -> int:
    """Print every complaint; return 1 when there was one."""
    sources = [path for path in tracked_files() if path.suffix == ".py" or is_script(path)]
    found = [line for path in sources for line in complaints(path)]
    print("\n".join(found) if found else f"{len(sources)} files are in order")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
