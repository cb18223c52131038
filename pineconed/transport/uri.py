# SPDX-License-Identifier: Apache-2.0
"""Addresses of peers and listeners as the operator writes them: `tcp://host:port`.

The bare `host:port` of the reference means the same (protocol section 9). IPv6 addresses stand in
brackets, with a zone if they need one: `tcp://[fe80::1%eth0]:7000`.
"""

import contextlib
import ipaddress
import re
from dataclasses import dataclass

SCHEMES = ("tcp",)
FORM = "write tcp://host:port, or tcp://[address]:port for IPv6"

_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_ZONE = re.compile(r"[A-Za-z0-9_.@-]{1,15}")
_NUMERIC = re.compile(r"[0-9.]+|0[xX][0-9a-fA-F]*")
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)


class UriError(ValueError):
    """The text is no address to dial or to listen on; the message says what would be right."""


@dataclass(frozen=True, slots=True)
class PeerUri:
    """Where a peer is reached. `host` is a name in lower case or an address without brackets."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        """The one way to write this address, so that equal addresses compare equal as text."""
        return f"{self.scheme}://{host_port(self.host, self.port)}"


def host_port(host: str, port: int) -> str:
    """`host:port` with the brackets that IPv6 needs."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_peer_uri(text: str) -> PeerUri:
    """Read the address of a peer to dial. UriError when it is none, names port 0 or means "any address"."""
    uri = _parse(text)
    if uri.port == 0:
        raise UriError(f"{text!r}: port 0 cannot be dialled; give the port that the peer listens on")
    if _is_wildcard(uri.host):
        raise UriError(f"{text!r}: {uri.host} means any address and cannot be dialled; name one host")
    return uri


def parse_listen_uri(text: str) -> PeerUri:
    """Read the address of a listener; port 0 lets the kernel choose, `[::]` means any address."""
    return _parse(text)


def _parse(text: str) -> PeerUri:
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "tcp", text
    scheme = scheme.lower()
    if scheme not in SCHEMES:
        raise UriError(f"{text!r}: unknown scheme {scheme!r}; {FORM}")
    for mark, what in (("@", "a user name"), ("/", "a path"), ("?", "options"), ("#", "a fragment")):
        if mark in rest:
            raise UriError(f"{text!r}: {what} ({mark!r}) has no meaning here; {FORM}")
    host, port = _split_port(text, rest)
    return PeerUri(scheme, _host(text, host), port)


def _split_port(text: str, rest: str) -> tuple[str, int]:
    host, colon, port = rest.rpartition(":")
    if not colon or (rest.startswith("[") and not host.endswith("]")):
        raise UriError(f"{text!r}: no port; {FORM}")
    if ":" in host and not host.startswith("["):
        raise UriError(f"{text!r}: an IPv6 address needs brackets; {_in_brackets(host, rest)}")
    if not _PORT.fullmatch(port) or int(port) > 65535:
        raise UriError(f"{text!r}: port {port!r} is no number from 0 to 65535")
    return host, int(port)


def _in_brackets(host: str, rest: str) -> str:
    """What the operator means: an address with a port behind it, or else an address that has none yet."""
    for address in (host, rest):
        with contextlib.suppress(ValueError):
            ipaddress.IPv6Address(address)
            return f"write tcp://[{address}]:port"
    return FORM


def _host(text: str, host: str) -> str:
    if host.startswith("[") and host.endswith("]"):
        return _ipv6(text, host[1:-1])
    if not host:
        raise UriError(f"{text!r}: no host; write [::] to listen on every address")
    if _NUMERIC.fullmatch(host):
        return _ipv4(text, host)
    labels = host.removesuffix(".").split(".")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise UriError(
            f"{text!r}: {host!r} is no host name; letters, digits and hyphens (international ones as xn--...)"
        )
    return host.lower()


def _ipv4(text: str, host: str) -> str:
    try:
        return str(ipaddress.IPv4Address(host))
    except ValueError as error:
        raise UriError(
            f"{text!r}: {host!r} is no IPv4 address; write four numbers, like 192.0.2.1"
        ) from error


def _ipv6(text: str, host: str) -> str:
    address, percent, zone = host.partition("%")
    try:
        plain = str(ipaddress.IPv6Address(address))
    except ValueError as error:
        raise UriError(f"{text!r}: {address!r} is no IPv6 address") from error
    if percent and not _ZONE.fullmatch(zone):
        raise UriError(f"{text!r}: {zone!r} is no interface name; write [{plain}%eth0]")
    return f"{plain}%{zone}" if percent else plain


def _is_wildcard(host: str) -> bool:
    return host in {"0.0.0.0", "::"}  # noqa: S104  (refused here, not bound to)
