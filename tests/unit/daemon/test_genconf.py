# SPDX-License-Identifier: Apache-2.0
"""The generated configuration file says the truth about the defaults, and is readable."""

import re
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest

from pineconed.daemon.config import Config
from pineconed.daemon.config_check import build, check
from pineconed.daemon.genconf import generate, toml_value

SETTING = re.compile(r"^#(?=[a-z0-9_]+ = )", re.MULTILINE)


def test_as_printed_it_changes_nothing() -> None:
    data = tomllib.loads(generate())
    assert check(data) == []
    assert build(data) == Config()


def test_every_commented_default_is_the_real_default() -> None:
    data = tomllib.loads(SETTING.sub("", generate()))
    assert check(data) == []
    assert build(data) == Config()


def test_every_key_is_in_it() -> None:
    data = tomllib.loads(SETTING.sub("", generate()))
    sections = {name: value for name, value in data.items() if isinstance(value, dict)}
    assert list(data) == list(Config.__struct_fields__)
    for name, keys in sections.items():
        assert list(keys) == list(getattr(Config(), name).__struct_fields__)


def test_examples_are_right_too() -> None:
    text = re.sub(r"^# Example: ", "", generate(), flags=re.MULTILINE)
    data = tomllib.loads(text)
    assert len(data["connect"]) == 2
    assert check(data) == []


def test_lines_fit_on_a_screen_and_settings_are_explained() -> None:
    lines = generate().splitlines()
    assert max(map(len, lines)) <= 100
    for before, line in pairwise(lines):
        if SETTING.match(line):
            assert before.startswith("# ")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (False, "false"),
        (3, "3"),
        (1.0, "1.0"),
        ('a "b"', '"a \\"b\\""'),
        (Path("/a"), '"/a"'),
        (("a", 1), '["a", 1]'),
        ((), "[]"),
    ],
)
def test_values_are_written_as_toml(value: object, text: str) -> None:
    assert toml_value(value) == text
