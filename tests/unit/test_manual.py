# SPDX-License-Identifier: Apache-2.0
"""The manual pages tell of every command, option, setting and exit code, and mandoc finds nothing wrong."""

import importlib.util
import re
import subprocess
from pathlib import Path
from types import ModuleType

import click
import msgspec
import pytest

from pineconed.cli.failures import ExitCode
from pineconed.cli.main import pineconectl
from pineconed.daemon.config import Config
from pineconed.daemon.config_check import section_of
from pineconed.daemon.main import command as pineconed
from tests.tools import require_tool

FOLDER = Path(__file__).parents[2] / "packaging" / "man"
PAGES = ("pineconectl.1", "pineconed.8", "pineconed.toml.5")


@pytest.fixture(scope="module")
def writer() -> ModuleType:
    """The script that writes the reference parts; its folder is no package."""
    spec = importlib.util.spec_from_file_location("write_reference", FOLDER / "write_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def page(name: str) -> str:
    return (FOLDER / name).read_text()


@pytest.mark.parametrize("name", PAGES)
def test_the_reference_is_up_to_date(writer: ModuleType, name: str) -> None:
    assert writer.updated(page(name)) == page(name), "run python packaging/man/write_reference.py"


@pytest.mark.parametrize("name", PAGES)
def test_mandoc_finds_nothing_wrong(name: str) -> None:
    require_tool("mandoc")
    done = subprocess.run(
        ["mandoc", "-Tlint", "-Wwarning", str(FOLDER / name)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def items(text: str, macro: str) -> set[str]:
    """The first word behind a macro in items of lists."""
    return set(re.findall(rf"^\.It {macro} (\S+)", text, re.MULTILINE))


def flags(text: str) -> set[str]:
    """What stands behind a dash in items of lists, with the dash."""
    lines = re.findall(r"^\.It (Fl .*)", text, re.MULTILINE)
    return {f"-{name}" for line in lines for name in re.findall(r"Fl (\S+)", line)}


@pytest.mark.parametrize(("name", "group"), [("pineconectl.1", pineconectl), ("pineconed.8", pineconed)])
def test_every_command_and_option_is_told(name: str, group: click.Group) -> None:
    assert items(page(name), "Cm") == set(group.commands)
    commands = [group, *group.commands.values()]
    options = [each for command in commands for each in command.params if isinstance(each, click.Option)]
    assert flags(page(name)) == {flag for each in options for flag in (*each.opts, *each.secondary_opts)}


def test_every_setting_is_told() -> None:
    expected = set()
    for field in msgspec.structs.fields(Config):
        section = section_of(field)
        expected |= {
            each.name for each in (msgspec.structs.fields(section) if section is not None else [field])
        }
    assert items(page("pineconed.toml.5"), "Va") == expected


def test_every_exit_code_is_told() -> None:
    told = page("pineconectl.1").split(".Sh EXIT STATUS")[1]
    assert [int(code) for code in re.findall(r"^\.It (\d)$", told, re.MULTILINE)] == list(ExitCode)
    assert re.findall(r"^\.It (\d)$", page("pineconed.8"), re.MULTILINE) == ["0", "1", "2"]
