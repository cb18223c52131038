# SPDX-License-Identifier: Apache-2.0
"""Addresses of peers and listeners as the operator writes them: `tls://host:port?key=...`.

The bare `host:port` of the reference means `tcp://` (protocol section 9). IPv6 addresses stand in
brackets, with a zone if they need one: `tcp://[fe80::1%eth0]:7000`.
"""

import re
from dataclasses import dataclass
from ipaddress import IPv6Address

from pineconed.transport.authority import UriError, host_port, parse_authority
from pineconed.transport.uri_options import (
    HIDDEN,
    LISTEN_OPTIONS,
    NO_OPTIONS,
    PEER_OPTIONS,
    SCHEMES,
    OptionTable,
    UriOptions,
    parse_options,
    write_options,
)

FORM = "write tcp://host:port, or tcp://[address]:port for IPv6"
DEFAULT_PORTS = {"ws": 80, "wss": 443}

_PATH = re.compile(r"/[!-~]*", re.ASCII)
_EXAMPLE_SOCKET = "/run/pineconed/peers.sock"
_MAX_UNIX_PATH = 107  # bytes, as the kernel limits the name of a Unix socket
_SECRET = re.compile(
    r"(?<=\bpassword=)[^&]*|(?<=\bproxy=)[^&]*(?=@|%40)|(?:^|(?<=://))[^/?&@]*(?=@)", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class PeerUri:
    """Where a peer is reached, or a listener listens.

    `host` is a name in lower case or an address without brackets. `path` is that of `ws` and `wss`, at least
    `/`; a `unix` URI has nothing else.
    """

    scheme: str
    host: str
    port: int
    path: str = ""
    options: UriOptions = NO_OPTIONS

    @property
    def name(self) -> str:
        """The one way to write this address, without options: two URIs with the same name are one peer."""
        place = "" if self.scheme == "unix" else host_port(self.host, self.port)
        return f"{self.scheme}://{place}{self.path}"

    def __str__(self) -> str:
        """With the options, but secrets as `...`: fit for logs."""
        return f"{self.name}{write_options(self.options, secrets=False)}"

    @property
    def text(self) -> str:
        """All of it, secrets too: what reads as the same URI again."""
        return f"{self.name}{write_options(self.options, secrets=True)}"


def parse_peer_uri(text: str) -> PeerUri:
    """Read the address of a peer to dial. UriError when it is none, names port 0 or means "any address"."""
    try:
        uri = _parse(text, PEER_OPTIONS)
        if uri.scheme != "unix":
            _check_dialled(uri)
    except UriError as error:
        raise UriError(f"{shown(text)!r}: {error}") from error
    return uri


def parse_listen_uri(text: str) -> PeerUri:
    """Read the address of a listener; port 0 lets the kernel choose, `[::]` means any address."""
    try:
        uri = _parse(text, LISTEN_OPTIONS)
        _check_listened(uri)
    except UriError as error:
        raise UriError(f"{shown(text)!r}: {error}") from error
    return uri


def shown(text: str) -> str:
    """What somebody wrote for a URI, without the secrets in it."""
    return _SECRET.sub(HIDDEN, text)


def _parse(text: str, known: OptionTable) -> PeerUri:
    scheme, separator, rest = text.partition("://")
    if not separator:
        _check_bare(text)
        scheme, rest = "tcp", text
    scheme = scheme.lower()
    if scheme not in SCHEMES:
        raise UriError(f"unknown scheme {scheme!r}; {FORM} (or {', '.join(SCHEMES[1:])})")
    address, question, query = rest.partition("?")
    if "#" in rest:
        raise UriError("a fragment ('#') has no meaning here; write %23 for one inside an option")
    host, port, path = _address(scheme, address)
    options = parse_options(query, scheme, known) if question else NO_OPTIONS
    return PeerUri(scheme, host, port, path, options)


def _check_bare(text: str) -> None:
    """What has no `://` is `host:port`, and no host is named like a scheme."""
    scheme = text.partition(":")[0].lower()
    if scheme in SCHEMES:
        form = f"unix://{_EXAMPLE_SOCKET}" if scheme == "unix" else f"{scheme}://host:port"
        raise UriError(f"'://' has to follow {scheme}; write {form}")


def _address(scheme: str, address: str) -> tuple[str, int, str]:
    if scheme == "unix":
        return "", 0, _unix_path(address)
    place, slash, path = address.partition("/")
    default_port = DEFAULT_PORTS.get(scheme)
    if slash and default_port is None:
        raise UriError(f"a path ('/') has no meaning here; write {scheme}://host:port")
    host, port = parse_authority(place, scheme, default_port)
    return host, port, "" if default_port is None else _web_path(path)


def _web_path(path: str) -> str:
    if not _PATH.fullmatch(f"/{path}"):
        raise UriError(f"the path '/{path}' holds more than ASCII without spaces; write such as %C3%BC")
    return f"/{path}"


def _unix_path(path: str) -> str:
    if not path.startswith("/") or path.endswith("/") or not path.isprintable():
        raise UriError(f"no path of a socket; write unix://{_EXAMPLE_SOCKET}")
    if len(path.encode()) > _MAX_UNIX_PATH:
        raise UriError(f"the path of a Unix socket has at most {_MAX_UNIX_PATH} bytes; use a shorter one")
    return path


def _check_dialled(uri: PeerUri) -> None:
    if uri.port == 0:
        raise UriError("port 0 cannot be dialled; give the port that the peer listens on")
    if uri.host in {"0.0.0.0", "::"}:  # noqa: S104  (refused here, not bound to)
        raise UriError(f"{uri.host} means any address and cannot be dialled; name one host")
    if uri.options.interface is None and uri.options.proxy is None:
        _check_zone(uri)


def _check_listened(uri: PeerUri) -> None:
    if uri.scheme == "wss" and uri.options.cert is None:
        raise UriError("wss needs a certificate; give its file by cert=, and that of its key by certkey=")
    _check_zone(uri)


def _check_zone(uri: PeerUri) -> None:
    """The kernel refuses a link-local address of which it is not told on which network it is."""
    if ":" in uri.host and "%" not in uri.host and IPv6Address(uri.host).is_link_local:
        raise UriError(f"a link-local address needs its interface; write such as [{uri.host}%eth0]")
