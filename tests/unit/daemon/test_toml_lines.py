# SPDX-License-Identifier: Apache-2.0
"""Finding the line on which a key of a TOML text is set."""

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pineconed.daemon.toml_lines import KeyPath, line_of

TEXT = """\
# a comment

listen = []
connect = [
    "tcp://one:1",  # the first
    # nothing here ] [x]
    "tcp://two:2", "tcp://three:3",

    "tcp://four:4"
]

[tun]
mtu = 1400
name = '''
x'''
"quoted key" = 1
peering.backoff = 2
inline = { a = 1, b = 2 }

[[many]]
x = 1
[[many]]
x = 2
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("listen",), 3),
        (("connect",), 4),
        (("connect", 0), 5),
        (("connect", 1), 7),
        (("connect", 2), 7),
        (("connect", 3), 9),
        (("tun",), 12),
        (("tun", "mtu"), 13),
        (("tun", "name"), 14),
        (("tun", "quoted key"), 16),
        (("tun", "peering"), 17),
        (("tun", "peering", "backoff"), 17),
        (("tun", "inline", "b"), 18),
        (("many",), 20),
        (("many", 0, "x"), 21),
        (("many", 1), 22),
        (("many", 1, "x"), 23),
    ],
)
def test_every_kind_of_key_is_found(path: KeyPath, line: int) -> None:
    assert line_of(TEXT, path) == line


def test_a_text_with_windows_line_ends_has_the_same_lines() -> None:
    assert line_of(TEXT.replace("\n", "\r\n"), ("connect", 3)) == 9


@pytest.mark.parametrize("path", [("absent",), ("tun", "absent"), ("connect", 9), ("listen", "x")])
def test_a_key_that_is_not_set_has_no_line(path: KeyPath) -> None:
    assert line_of(TEXT, path) is None


def test_a_huge_file_gets_no_line_numbers_rather_than_long_work() -> None:
    text = "\n".join(f"key{number} = 1" for number in range(3000))
    assert line_of(text, ("key7",)) is None


@given(
    st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), max_size=5), max_size=8)
)
def test_the_line_of_an_item_holds_that_item(items: list[str]) -> None:
    written = [f"    {_literal(item)}," for item in items]
    text = "\n".join(["# head", "list = [", *written, "]", "last = 1"])
    parsed: dict[str, Any] = tomllib.loads(text)
    assert parsed["list"] == items
    for index in range(len(items)):
        assert line_of(text, ("list", index)) == 3 + index
    assert line_of(text, ("last",)) == 4 + len(items)


def _literal(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
