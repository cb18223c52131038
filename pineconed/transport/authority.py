# SPDX-License-Identifier: Apache-2.0
"""Host and port in a URI (the authority of RFC 3986): names, IPv4, and IPv6 in brackets."""

import contextlib
import ipaddress
import re

_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")
_INTERFACE = re.compile(r"[A-Za-z0-9_.@-]{1,15}")
_NUMERIC = re.compile(r"[0-9.]+|0[xX][0-9a-fA-F]*")
_PORT = re.compile(r"[0-9]{1,5}", re.ASCII)


class UriError(ValueError):
    """The text is no address to dial or to listen on; the message says what would be right."""


def host_port(host: str, port: int) -> str:
    """`host:port` with the brackets that IPv6 needs."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse_authority(text: str, scheme: str, default_port: int | None = None) -> tuple[str, int]:
    """A host without brackets, names in lower case, and a port. UriError when they are none.

    `scheme` is for the message; without a default port there has to be one.
    """
    form = f"write {scheme}://host:port, or {scheme}://[address]:port for IPv6"
    if "@" in text:
        raise UriError(f"a user name ('@') has no meaning here; {form}")
    host, port = _split_port(text, scheme, form, default_port)
    return parse_host(host, listens_hint=True), port


def is_interface_name(text: str) -> bool:
    """Whether Linux could have an interface of this name."""
    return _INTERFACE.fullmatch(text) is not None


def _split_port(text: str, scheme: str, form: str, default_port: int | None) -> tuple[str, int]:
    if default_port is not None and (":" not in text or text.endswith("]")):
        return text, default_port
    host, colon, port = text.rpartition(":")
    if not colon or (text.startswith("[") and not host.endswith("]")):
        raise UriError(f"no port; {form}")
    if ":" in host and not host.startswith("["):
        raise UriError(f"an IPv6 address needs brackets; {_in_brackets(host, text, scheme, form)}")
    if not _PORT.fullmatch(port) or int(port) > 65535:
        raise UriError(f"port {port!r} is no number from 0 to 65535")
    return host, int(port)


def _in_brackets(host: str, whole: str, scheme: str, form: str) -> str:
    """What the operator means: an address with a port behind it, or else an address that has none yet."""
    for address in (host, whole):
        with contextlib.suppress(ValueError):
            ipaddress.IPv6Address(address)
            return f"write {scheme}://[{address}]:port"
    return form


def parse_host(host: str, *, listens_hint: bool = False) -> str:
    """A host name in lower case, or an address in its usual form. UriError when it is none."""
    if host.startswith("[") and host.endswith("]"):
        return _ipv6(host[1:-1])
    if not host:
        raise UriError(f"no host{'; write [::] to listen on every address' if listens_hint else ''}")
    if _NUMERIC.fullmatch(host):
        return _ipv4(host)
    if host == "*" and listens_hint:
        raise UriError("'*' is no host; write [::] to listen on every address")
    labels = host.removesuffix(".").split(".")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise UriError(
            f"{host!r} is no host name; letters, digits and hyphens (international ones as xn--...)"
        )
    return host.lower()


def _ipv4(host: str) -> str:
    try:
        return str(ipaddress.IPv4Address(host))
    except ValueError as error:
        raise UriError(f"{host!r} is no IPv4 address; write four numbers, like 192.0.2.1") from error


def _ipv6(host: str) -> str:
    address, percent, zone = host.partition("%")
    try:
        plain = str(ipaddress.IPv6Address(address))
    except ValueError as error:
        raise UriError(f"{address!r} is no IPv6 address") from error
    if percent and not is_interface_name(zone):
        raise UriError(f"{zone!r} is no interface name; write [{plain}%eth0]")
    return f"{plain}%{zone}" if percent else plain
