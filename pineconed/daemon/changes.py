# SPDX-License-Identifier: Apache-2.0
"""What changes when a daemon that runs under one configuration is given another; no effects here."""

from dataclasses import dataclass

import msgspec

from pineconed.daemon.config import Config, LogLevel
from pineconed.daemon.settings import accept_limits, admission, dial_settings
from pineconed.transport.uri import PeerUri, parse_listen_uri

_AT_START = (
    ("node", "key_file"),
    ("tun", "enabled"),
    ("tun", "name"),
    ("tun", "mtu"),
    ("tun", "route"),
    ("tun", "offload"),
    ("overlay", "bare_ipv6"),
    ("overlay", "rekey_after"),
    ("admin", "enabled"),
    ("admin", "socket"),
    ("admin", "mode"),
    ("admin", "group"),
    ("admin", "status_socket"),
    ("log", "format"),
    ("peering", "saved_peers"),
)
"""The settings that a running daemon cannot change."""


@dataclass(frozen=True, slots=True)
class Changes:
    """The steps from one configuration to another, in the order in which they are to be taken.

    log_level: the new one, None when it is the same. admission: who may peer has changed. limits, backoff:
    bounds on inbound connections, waits of the dialler. closed: listeners to close, by the names of their
    URIs; opened: those to open, also again with other options. multicast, ble: LAN discovery or Bluetooth has
    changed.
    at_next_start: settings that have changed and cannot be applied now, as `section.key`.
    """

    log_level: LogLevel | None
    admission: bool
    limits: bool
    backoff: bool
    closed: tuple[str, ...]
    opened: tuple[PeerUri, ...]
    multicast: bool
    ble: bool
    at_next_start: tuple[str, ...]


def changes(old: Config, new: Config) -> Changes:
    """How to get from `old`, which is in force, to `new`. Peers are the roster's, which knows more places."""
    before, after = _listeners(old), _listeners(new)
    return Changes(
        log_level=new.log.level if new.log.level != old.log.level else None,
        admission=admission(old.peering) != admission(new.peering),
        limits=accept_limits(old.peering) != accept_limits(new.peering),
        backoff=dial_settings(old.peering) != dial_settings(new.peering),
        closed=tuple(name for name, uri in before.items() if after.get(name) != uri),
        opened=tuple(uri for name, uri in after.items() if before.get(name) != uri),
        multicast=old.multicast != new.multicast and (old.multicast.enabled or new.multicast.enabled),
        ble=old.ble != new.ble and (old.ble.enabled or new.ble.enabled),
        at_next_start=tuple(
            f"{section}.{key}"
            for section, key in _AT_START
            if getattr(getattr(old, section), key) != getattr(getattr(new, section), key)
        ),
    )


def in_force(old: Config, new: Config, listen: tuple[str, ...]) -> Config:
    """`new` as far as a running daemon can follow it; `listen` are the listeners that are open."""
    config = msgspec.structs.replace(new, listen=listen)
    for section, key in _AT_START:
        kept = {key: getattr(getattr(old, section), key)}
        replaced = msgspec.structs.replace(getattr(config, section), **kept)
        config = msgspec.structs.replace(config, **{section: replaced})
    return config


def _listeners(config: Config) -> dict[str, PeerUri]:
    uris = map(parse_listen_uri, config.listen)
    return {uri.name: uri for uri in uris}
