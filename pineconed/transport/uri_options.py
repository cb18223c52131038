# SPDX-License-Identifier: Apache-2.0
"""The options of a URI: its query, such as `?key=...&password=...`.

Values are percent-encoded where they have to be; a `+` stands for itself.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

from pineconed.transport.authority import UriError, host_port, is_interface_name, parse_authority, parse_host

SCHEMES = ("tcp", "tls", "ws", "wss", "unix")
OVER_IP = ("tcp", "tls", "ws", "wss")

HIDDEN = "..."
"""Stands for a secret where a URI is shown."""

_KEY = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)
_TIME = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)(s|m|h)?", re.ASCII)
_SECONDS = {None: 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}
_ORIGIN = re.compile(r"https?://[!-~]+|null|\*", re.ASCII)
_MAX_BACKOFF = 86_400.0


class ProxyUri(NamedTuple):
    """A proxy to dial through: `socks5` (RFC 1928) or `http` (its CONNECT method)."""

    scheme: str
    host: str
    port: int
    user: str | None = None
    password: str | None = None

    @property
    def text(self) -> str:
        """All of it, credentials too."""
        login = "" if self.user is None else f"{self.user}:{self.password or ''}@"
        return f"{self.scheme}://{login}{host_port(self.host, self.port)}"

    def __str__(self) -> str:
        """As it may be shown."""
        login = "" if self.user is None else f"{HIDDEN}@"
        return f"{self.scheme}://{login}{host_port(self.host, self.port)}"


@dataclass(frozen=True, slots=True)
class UriOptions:
    """What a URI says beside the address; every field at its default means "not given".

    keys: public keys of 32 bytes; of a peer the ones that may answer, of a listener the ones that may come.
    password: the shared secret of `tls`. max_backoff: seconds. sni: the server name that TLS asks for.
    interface: the network interface to dial from. ca, cert, certkey: paths of PEM files. origins: the web
    pages whose browsers may connect, `*` for all.
    """

    keys: tuple[bytes, ...] = ()
    password: str | None = None
    max_backoff: float | None = None
    sni: str | None = None
    proxy: ProxyUri | None = None
    interface: str | None = None
    ca: str | None = None
    cert: str | None = None
    certkey: str | None = None
    origins: tuple[str, ...] = ()


NO_OPTIONS = UriOptions()


class _Option(NamedTuple):
    """An option's field, how its value is read, for which schemes it has a meaning, and if it may repeat."""

    field: str
    read: Callable[[str], object]
    schemes: tuple[str, ...]
    repeats: bool = False


OptionTable = dict[str, _Option]
"""Options by name."""


def parse_key(text: str) -> bytes:
    """A public key of 64 hexadecimal digits. UriError when it is none."""
    if not _KEY.fullmatch(text):
        raise UriError(f"{text!r} is no public key; write its 64 hexadecimal digits (pineconectl status)")
    return bytes.fromhex(text)


def _password(text: str) -> str:
    if not text:
        raise UriError("the password is empty; `pineconectl genpassword` makes a good one")
    return text


def _time(text: str) -> float:
    form = _TIME.fullmatch(text)
    seconds = float(form[1]) * _SECONDS[form[2]] if form else 0.0
    if not 1 <= seconds <= _MAX_BACKOFF:
        raise UriError(f"maxbackoff {text!r} is no time from 1s to 24h; write 30s, 5m or 1h")
    return seconds


def _proxy(text: str) -> ProxyUri:
    scheme, separator, rest = text.partition("://")
    login, at, address = rest.rpartition("@")
    if not separator or scheme not in {"socks5", "http"}:
        raise UriError("the proxy is no socks5://host:port or http://host:port")
    user, _, password = login.partition(":")
    host, port = parse_authority(address.removesuffix("/"), scheme)
    return ProxyUri(scheme, host, port, user if at else None, password if at else None)


def _interface(text: str) -> str:
    if not is_interface_name(text):
        raise UriError(f"{text!r} is no interface name; `ip link` lists them")
    return text


def _file(text: str) -> str:
    if not text.startswith("/") or not text.isprintable():
        raise UriError(f"{text!r} is no absolute path; it has to begin with /")
    return text


def _origin(text: str) -> str:
    if not _ORIGIN.fullmatch(text):
        raise UriError(f"{text!r} is no origin; write https://www.example.org, or * for every web page")
    return text.lower()


_KEYS = _Option("keys", parse_key, SCHEMES, repeats=True)
_PASSWORD = _Option("password", _password, ("tls",))

PEER_OPTIONS: OptionTable = {
    "key": _KEYS,
    "password": _PASSWORD,
    "maxbackoff": _Option("max_backoff", _time, SCHEMES),
    "sni": _Option("sni", parse_host, ("tls", "wss")),
    "proxy": _Option("proxy", _proxy, OVER_IP),
    "interface": _Option("interface", _interface, OVER_IP),
    "ca": _Option("ca", _file, ("wss",)),
}
"""What the URI of a peer may say."""

LISTEN_OPTIONS: OptionTable = {
    "key": _KEYS,
    "password": _PASSWORD,
    "cert": _Option("cert", _file, ("wss",)),
    "certkey": _Option("certkey", _file, ("wss",)),
    "origin": _Option("origins", _origin, ("ws", "wss"), repeats=True),
}
"""What the URI of a listener may say."""


def parse_options(query: str, scheme: str, known: OptionTable) -> UriOptions:
    """The options of a URI with this scheme. UriError names what would be right."""
    found: dict[str, Any] = {}
    for item in query.split("&"):
        name, equals, value = item.partition("=")
        option = _option(name, bool(equals), scheme, known)
        read = option.read(unquote(value))
        if option.repeats:
            found[option.field] = (*found.get(option.field, ()), read)
        elif option.field in found:
            raise UriError(f"the option {name} is given twice; remove one")
        else:
            found[option.field] = read
    return UriOptions(**found)


def _option(name: str, has_value: bool, scheme: str, known: OptionTable) -> _Option:
    here = ", ".join(each for each, option in known.items() if scheme in option.schemes)
    option = known.get(name)
    if option is None:
        other = PEER_OPTIONS if known is LISTEN_OPTIONS else LISTEN_OPTIONS
        where = "listener" if known is PEER_OPTIONS else "peer"
        what = f"belongs to the URI of a {where}" if name in other else "is unknown"
        raise UriError(f"the option {name!r} {what}; here can stand: {here}")
    if scheme not in option.schemes:
        meant = ", ".join(f"{each}://" for each in option.schemes)
        raise UriError(f"the option {name} has no meaning for {scheme}://, only for {meant}")
    if not has_value:
        raise UriError(f"the option {name} has no value; write {name}=...")
    return option


def write_options(options: UriOptions, *, secrets: bool) -> str:
    """The query with its `?`, empty without any option; without `secrets` they are shown as `...`."""
    items = [f"{name}={value}" for name, value in _items(options, secrets)]
    return f"?{'&'.join(items)}" if items else ""


def _items(options: UriOptions, secrets: bool) -> Iterator[tuple[str, str]]:
    for name, option in (PEER_OPTIONS | LISTEN_OPTIONS).items():
        value = getattr(options, option.field)
        for each in value if option.repeats else () if value is None else (value,):
            yield name, HIDDEN if name == "password" and not secrets else _written(each, secrets)


def _written(value: object, secrets: bool) -> str:
    match value:
        case bytes():
            return value.hex()
        case float():
            return f"{value:g}"
        case ProxyUri() if secrets:
            return quote(value.text, safe="/:@[]")
        case _:
            return quote(str(value), safe="/:@[]*")
