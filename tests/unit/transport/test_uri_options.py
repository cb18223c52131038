# SPDX-License-Identifier: Apache-2.0
"""The options of URIs: what is read, what is refused, and that secrets are never shown."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pineconed.transport.authority import UriError
from pineconed.transport.uri import PeerUri, parse_listen_uri, parse_peer_uri, shown
from pineconed.transport.uri_options import ProxyUri, UriOptions

KEY = "57ecb05d621da52f272b8cf84f7fd8177c83af1580d25a764cc06436d67171cb"
RAW = bytes.fromhex(KEY)


@pytest.mark.parametrize(
    ("text", "uri"),
    [
        ("ws://Peer.example", PeerUri("ws", "peer.example", 80, "/")),
        ("wss://peer/a/b", PeerUri("wss", "peer", 443, "/a/b")),
        ("ws://[::1]/x", PeerUri("ws", "::1", 80, "/x")),
        ("ws://[::1]:8080/x@y", PeerUri("ws", "::1", 8080, "/x@y")),
        ("unix:///run/x.sock", PeerUri("unix", "", 0, "/run/x.sock")),
        ("peer:7?maxbackoff=2m", PeerUri("tcp", "peer", 7, "", UriOptions(max_backoff=120.0))),
        (f"tcp://peer:7?key={KEY.upper()}", PeerUri("tcp", "peer", 7, "", UriOptions(keys=(RAW,)))),
        (
            f"tls://peer:7?key={KEY}&key={'00' * 32}&password=a+b%26c%20%25",
            PeerUri("tls", "peer", 7, "", UriOptions(keys=(RAW, bytes(32)), password="a+b&c %")),
        ),
        (
            "tls://peer:7?proxy=socks5://me:p:w@[::1]:9050&sni=Other&interface=eth0.5",
            PeerUri(
                "tls",
                "peer",
                7,
                "",
                UriOptions(
                    proxy=ProxyUri("socks5", "::1", 9050, "me", "p:w"), sni="other", interface="eth0.5"
                ),
            ),
        ),
        ("wss://p/?ca=/etc/ca.pem", PeerUri("wss", "p", 443, "/", UriOptions(ca="/etc/ca.pem"))),
    ],
)
def test_peers(text: str, uri: PeerUri) -> None:
    assert parse_peer_uri(text) == uri
    assert parse_peer_uri(uri.text) == uri


def test_listeners() -> None:
    text = "wss://[::]:8443/mesh?cert=/a.pem&certkey=/b.pem&origin=https://Example.org&origin=*"
    uri = parse_listen_uri(text)
    assert uri.options == UriOptions(cert="/a.pem", certkey="/b.pem", origins=("https://example.org", "*"))
    assert uri.name == "wss://[::]:8443/mesh"
    assert parse_listen_uri(uri.text) == uri
    assert parse_listen_uri("tls://[::]:0?password=x").options.password == "x"


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("tcp://peer:7?", "the option '' is unknown; here can stand: key, maxbackoff, proxy, interface"),
        ("tcp://peer:7?pasword=x", "the option 'pasword' is unknown"),
        ("tcp://peer:7?password=x", "the option password has no meaning for tcp://, only for tls://"),
        ("ws://peer:7?sni=x", "no meaning for ws://, only for tls://, wss://"),
        ("unix:///a?proxy=http://x:1", "no meaning for unix://"),
        ("tls://peer:7?cert=/x", "the option 'cert' belongs to the URI of a listener; here can stand: key"),
        ("tls://peer:7?key", "the option key has no value; write key=..."),
        ("tls://peer:7?key=12", "64 hexadecimal digits"),
        ("tls://peer:7?password=", "the password is empty"),
        ("tls://peer:7?password=a&password=b", "the option password is given twice"),
        ("tls://peer:7?maxbackoff=0s", "no time from 1s to 24h"),
        ("tls://peer:7?maxbackoff=25h", "no time from 1s to 24h"),
        ("tls://peer:7?maxbackoff=soon", "write 30s, 5m or 1h"),
        ("tls://peer:7?interface=a/b", "no interface name"),
        ("tls://peer:7?sni=a..b", "no host name"),
        ("tls://peer:7?proxy=ftp://x:1", "no socks5://host:port or http://host:port"),
        ("tls://peer:7?proxy=socks5://x", "no port; write socks5://host:port"),
        ("wss://peer:7?ca=ca.pem", "no absolute path"),
        ("ws://peer/ü", "more than ASCII"),
        ("unix://run/x", "no path of a socket"),
        ("unix:///run/", "no path of a socket"),
        (f"unix:///{'x' * 107}", "at most 107 bytes"),
    ],
)
def test_refuses_with_words_that_help(text: str, hint: str) -> None:
    with pytest.raises(UriError) as refusal:
        parse_peer_uri(text)
    assert hint in str(refusal.value)


def test_options_of_peers_are_not_those_of_listeners() -> None:
    with pytest.raises(UriError, match="the option 'proxy' belongs to the URI of a peer"):
        parse_listen_uri("tcp://[::]:1?proxy=http://x:1")
    with pytest.raises(UriError, match="is no origin"):
        parse_listen_uri("ws://[::]:1?origin=example.org")


def test_a_name_has_no_options_and_what_is_shown_no_secrets() -> None:
    uri = parse_peer_uri(f"TLS://Peer:7?password=hunter2&proxy=http://me:hunter2@x:1&key={KEY}")
    assert uri.name == "tls://peer:7"
    assert str(uri) == f"tls://peer:7?key={KEY}&password=...&proxy=http://...@x:1"
    assert "hunter2" in uri.text


@pytest.mark.parametrize(
    "text",
    [
        "tls://peer:7?password=hunter2&nonsense=1",
        "tls://peer:7?PASSWORD=hunter2",
        "tcp://peer:7?proxy=ftp://me:hunter2@x:1",
        "tcp://peer:7?proxy=ftp://me:hunter2%40x:1&x=1",
        "tls://peer?password=hunter2",
        "gopher://peer?password=hunter2#x",
        "tcp://me:hunter2@peer:7",
        "me:hunter2@peer:7",
    ],
)
def test_no_complaint_repeats_a_secret(text: str) -> None:
    assert "hunter2" not in shown(text)
    with pytest.raises(UriError) as refusal:
        parse_peer_uri(text)
    assert "hunter2" not in str(refusal.value)


@given(st.text(min_size=1, max_size=40), st.lists(st.binary(min_size=32, max_size=32), max_size=3))
def test_options_survive_the_round_trip(password: str, keys: list[bytes]) -> None:
    query = "&".join([f"password={quote(password, safe='')}", *(f"key={key.hex()}" for key in keys)])
    uri = parse_peer_uri(f"tls://peer:7?{query}")
    assert uri.options == UriOptions(keys=tuple(keys), password=password)
    assert parse_peer_uri(uri.text) == uri
    assert parse_peer_uri(uri.name) == PeerUri("tls", "peer", 7)


@given(st.sampled_from(["tcp", "tls", "ws", "wss", "unix"]), st.text())
def test_any_text_is_read_or_refused(scheme: str, text: str) -> None:
    for parse in (parse_peer_uri, parse_listen_uri):
        try:
            uri = parse(f"{scheme}://{text}")
        except UriError:
            continue
        assert parse(uri.text) == uri
