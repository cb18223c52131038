# SPDX-License-Identifier: Apache-2.0
"""The documentation names every setting, every command and every call, and nothing that there is not."""

import re
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec
import pytest

from pineconed.admin.endpoints import ENDPOINTS
from pineconed.admin.errors import STATUS_OF
from pineconed.admin.openapi import DOCUMENT_PATH
from pineconed.cli.failures import ExitCode
from pineconed.cli.main import pineconectl
from pineconed.daemon.config import Config
from pineconed.daemon.config_check import check, section_of
from pineconed.daemon.config_load import parse_toml
from pineconed.daemon.genconf import toml_value
from pineconed.daemon.main import command as pineconed
from pineconed.dataplane.counters import DropCause
from pineconed.overlay.endpoint import EndpointDrop
from pineconed.overlay.session.drops import SessionDrop
from pineconed.router.broadcast import BroadcastVerdict
from pineconed.router.snake import BootstrapVerdict
from pineconed.tun.drops import TunDrop

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def page(name: str) -> str:
    return (DOCS / name).read_text()


def table_rows(text: str) -> dict[str, list[str]]:
    """The rows of all tables of a text: first cell without its backquotes -> the other cells."""
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| `")]
    return {cells[0].strip("`"): cells[1:] for cells in rows}


def settings() -> Iterator[tuple[str, str, msgspec.structs.FieldInfo]]:
    """Every setting as (heading of its section in the page, name, field)."""
    for field in msgspec.structs.fields(Config):
        if section := section_of(field):
            for inner in msgspec.structs.fields(section):
                yield f"## `[{field.name}]`", inner.name, inner
        else:
            yield "## Peers", field.name, field


def section(text: str, heading: str) -> str:
    """The part of a page below a heading, up to the next of the same depth."""
    start = text.index(f"\n{heading}")
    end = text.find("\n## ", start + 1)
    return text[start : end if end > 0 else len(text)]


@pytest.mark.parametrize(
    ("heading", "name", "field"), list(settings()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_setting_is_described_with_its_default(
    heading: str, name: str, field: msgspec.structs.FieldInfo
) -> None:
    row = table_rows(section(page("configuration.md"), heading))[name]
    assert row[1].strip("`").strip('"') == toml_value(field.default).strip('"')


def examples() -> Iterator[tuple[str, str]]:
    """Every piece of configuration that a page shows, with the name of the page."""
    for path in sorted(DOCS.glob("*.md")):
        for text in re.findall(r"^```toml\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL):
            yield path.name, text


@pytest.mark.parametrize(("name", "text"), list(examples()))
def test_every_piece_of_configuration_is_right(name: str, text: str) -> None:
    assert check(parse_toml(text, DOCS / name)) == []


def test_no_setting_is_described_that_does_not_exist() -> None:
    text = page("configuration.md").split("## Command-line flags")[0]
    assert set(table_rows(text)) == {name for _, name, _ in settings()}


def option_names(command: click.Command) -> set[str]:
    options = (option for option in command.params if isinstance(option, click.Option))
    return {name for option in options for name in option.opts if name.startswith("--")}


def test_every_flag_of_the_daemon_is_described() -> None:
    described = table_rows(section(page("configuration.md"), "## Command-line flags"))
    assert {name.split()[0] for name in described} == option_names(pineconed) - {"--help", "--version"}


def test_every_command_of_the_daemon_is_described() -> None:
    described = table_rows(section(page("configuration.md"), "## Commands of pineconed"))
    assert isinstance(pineconed, click.Group)
    assert {name.removeprefix("pineconed ") for name in described} == set(pineconed.commands)


def test_every_command_of_the_cli_is_described() -> None:
    headings = re.findall(r"^### `([a-z-]+)", page("cli.md"), re.MULTILINE)
    assert sorted(headings) == sorted(pineconectl.commands)


@pytest.mark.parametrize("name", pineconectl.commands)
def test_every_option_of_a_command_is_described(name: str) -> None:
    text = page("cli.md")
    common = text.split("## Exit codes")[0]
    own = text.split(f"### `{name}")[1].split("### ")[0]
    missing = {
        option for option in option_names(pineconectl.commands[name]) if f"`{option}" not in common + own
    }
    assert not missing


def test_every_exit_code_is_described() -> None:
    codes = re.findall(r"^\| (\d) \|", page("cli.md"), re.MULTILINE)
    assert [int(code) for code in codes] == list(ExitCode)


def test_every_call_of_the_admin_api_is_described() -> None:
    described = set(re.findall(r"^\| `([A-Z]+ /v1/\S+)` \|", page("admin-api.md"), re.MULTILINE))
    served = {f"{endpoint.method} {endpoint.path}" for endpoint in ENDPOINTS}
    assert described == served | {f"GET {DOCUMENT_PATH}"}


def test_every_cause_of_a_drop_is_described() -> None:
    kinds = (DropCause, EndpointDrop, SessionDrop, BootstrapVerdict, BroadcastVerdict, TunDrop)
    counted = {cause.value for kind in kinds for cause in kind}
    counted -= {BootstrapVerdict.STORED, BroadcastVerdict.SEEN}
    counted |= {"announcement_delayed", "announcement_too_long", "no_free_port"}
    rows = [line.split(" | ")[0] for line in page("drops.md").splitlines() if line.startswith("| `")]
    assert sorted(re.findall(r"`(\w+)`", "".join(rows))) == sorted(counted)


def test_every_error_of_the_admin_api_is_described() -> None:
    rows = table_rows(page("admin-api.md"))
    described = {code: cells[0] for code, cells in rows.items() if code in STATUS_OF}
    assert described == {code: str(status) for code, status in STATUS_OF.items()}


def test_protocol_notes_have_the_sections_that_the_code_refers_to() -> None:
    numbers = re.findall(r"^## (\d+)\. ", page("protocol.md"), re.MULTILINE)
    assert [int(number) for number in numbers] == list(range(1, 13))


def test_links_of_the_readme_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", (ROOT / "README.md").read_text())
    assert not [link for link in links if "://" not in link and not (ROOT / link).exists()]
