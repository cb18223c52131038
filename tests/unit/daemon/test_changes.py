# SPDX-License-Identifier: Apache-2.0
"""The differences between two configurations."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from pineconed.daemon.changes import Changes, changes, in_force
from pineconed.daemon.config import Config
from pineconed.daemon.config_check import section_of
from pineconed.transport.uri import parse_listen_uri

NONE = Changes(None, False, False, False, (), (), False, False, ())
KEY = "ab" * 32


def config(**sections: Any) -> Config:
    return msgspec.convert(sections, Config, dec_hook=lambda kind, value: kind(value))


def only(**expected: Any) -> Changes:
    values = {name: getattr(NONE, name) for name in Changes.__slots__}
    return Changes(**values | expected)


def test_nothing_changes_nothing() -> None:
    given = config(listen=["tcp://[::]:1"], connect=["tcp://a:1"], peering={"allowed_keys": [KEY]})
    assert changes(given, config(**msgspec.to_builtins(given, enc_hook=str))) == NONE


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        ({"log": {"level": "debug"}}, only(log_level="debug")),
        ({"peering": {"allowed_keys": [KEY]}}, only(admission=True)),
        ({"peering": {"blocked_keys": [KEY]}}, only(admission=True)),
        ({"peering": {"max_peers": 3}}, only(admission=True)),
        ({"peering": {"backoff_max": 3}}, only(backoff=True)),
        ({"peering": {"accepts_burst": 3}}, only(limits=True)),
        ({"multicast": {"enabled": False}}, only(multicast=True)),
        ({"multicast": {"include": ["eth0"]}}, only(multicast=True)),
        ({"ble": {"enabled": True}}, only(ble=True)),
        ({"ble": {"adapter": "hci1"}}, NONE),  # it stays off
        ({"tun": {"mtu": 1280}}, only(at_next_start=("tun.mtu",))),
        (
            {"node": {"key_file": "/k"}, "admin": {"socket": "/s"}},
            only(at_next_start=("node.key_file", "admin.socket")),
        ),
        ({"connect": ["tcp://a:1"]}, NONE),
    ],
)
def test_one_section(sections: dict[str, Any], expected: Changes) -> None:
    assert changes(Config(), config(**sections)) == expected


def test_listeners_that_stay_are_left_alone() -> None:
    old = config(listen=["tcp://[::]:1", "tcp://[::]:2", f"tcp://[::]:3?key={KEY}"])
    new = config(listen=[f"tcp://[::]:3?key={KEY.upper()}", "tcp://[::]:1?key=" + "cd" * 32, "tcp://[::]:4"])
    found = changes(old, new)
    assert found.closed == ("tcp://[::]:1", "tcp://[::]:2")
    assert [uri.name for uri in found.opened] == ["tcp://[::]:1", "tcp://[::]:4"]


def test_every_setting_is_somebodys() -> None:
    """One that is added to the configuration has to be applied, or be said to need a start."""
    old = config(ble={"enabled": True})  # while it is off, the rest of it does not matter
    for section in msgspec.structs.fields(Config):
        for key in msgspec.structs.fields(kind) if (kind := section_of(section)) else ():
            now = getattr(getattr(old, section.name), key.name)
            other: object = Path("/x") if isinstance(now, Path) else ("x",) if isinstance(now, tuple) else "x"
            if isinstance(now, int | float):
                other = not now
            if (section.name, key.name) in {("peering", "allowed_keys"), ("peering", "blocked_keys")}:
                other = (KEY,)
            changed = msgspec.structs.replace(getattr(old, section.name), **{key.name: other})
            new = msgspec.structs.replace(old, **{section.name: changed})
            assert changes(old, new) != NONE, f"{section.name}.{key.name}"


def test_what_could_not_be_applied_is_tried_again() -> None:
    new = config(listen=["tcp://[::]:1"], tun={"mtu": 1280}, log={"level": "debug"})
    now = in_force(Config(), new, ())
    again = changes(now, new)
    assert again == only(opened=(parse_listen_uri("tcp://[::]:1"),), at_next_start=("tun.mtu",))
