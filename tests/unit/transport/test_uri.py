# SPDX-License-Identifier: Apache-2.0
"""Addresses of peers and listeners: what is read, what is refused and with which words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pineconed.transport.authority import UriError
from pineconed.transport.uri import PeerUri, parse_listen_uri, parse_peer_uri


@pytest.mark.parametrize(
    ("text", "host", "port", "canonical"),
    [
        ("tcp://peer.example.org:4444", "peer.example.org", 4444, "tcp://peer.example.org:4444"),
        ("TCP://Peer.Example.org:1", "peer.example.org", 1, "tcp://peer.example.org:1"),
        ("peer:65535", "peer", 65535, "tcp://peer:65535"),
        ("192.0.2.7:4444", "192.0.2.7", 4444, "tcp://192.0.2.7:4444"),
        ("tcp://[2001:DB8:0::1]:4444", "2001:db8::1", 4444, "tcp://[2001:db8::1]:4444"),
        ("[::1]:0080", "::1", 80, "tcp://[::1]:80"),
        ("tcp://[fe80::1%eth0.5]:9", "fe80::1%eth0.5", 9, "tcp://[fe80::1%eth0.5]:9"),
        ("tcp://xn--bcher-kva.example:7", "xn--bcher-kva.example", 7, "tcp://xn--bcher-kva.example:7"),
        ("tcp://my_host.:7", "my_host.", 7, "tcp://my_host.:7"),
    ],
)
def test_reads_an_address_and_writes_it_in_one_way(text: str, host: str, port: int, canonical: str) -> None:
    uri = parse_peer_uri(text)
    assert uri == PeerUri("tcp", host, port)
    assert str(uri) == canonical
    assert parse_peer_uri(canonical) == uri


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "no port"),
        ("peer", "no port"),
        ("tcp://[::1]", "no port"),
        ("tcp://peer:", "no number"),
        ("tcp://peer:65536", "no number"),
        ("tcp://peer:-1", "no number"),
        ("tcp://peer:\u0667", "no number"),
        ("tcp://:7", "[::]"),
        ("quic://peer:7", "unknown scheme 'quic'; write tcp://host:port"),
        ("tcp://2001:db8::1:7", "needs brackets; write tcp://[2001:db8::1]:port"),
        ("tcp://2001:db8::1", "needs brackets; write tcp://[2001:db8::1]:port"),
        ("tcp://fe80::1%eth0", "needs brackets; write tcp://[fe80::1%eth0]:port"),
        ("tcp://2001:db8::beef", "needs brackets; write tcp://[2001:db8::beef]:port"),
        ("tcp://a:b:7", "needs brackets; write tcp://host:port"),
        ("tcp://[2001:db8::g]:7", "no IPv6 address"),
        ("tcp://[1.2.3.4]:7", "no IPv6 address"),
        ("tcp://[fe80::1%]:7", "no interface name"),
        ("tcp://[fe80::1%a b]:7", "no interface name"),
        ("tcp://1.2.3:7", "no IPv4 address"),
        ("tcp://300.1.1.1:7", "no IPv4 address"),
        ("tcp://0x7f000001:7", "no IPv4 address"),
        ("tcp://user@peer:7", "a user name"),
        ("tcp://peer:7/", "a path"),
        ("tcp://peer:7?x=1", "the option 'x' is unknown"),
        ("tcp://peer:7#x", "a fragment"),
        ("tcp://-peer:7", "no host name"),
        ("tcp://a..b:7", "no host name"),
        ("tcp://b\u00fccher.example:7", "xn--"),
        ("tcp:// peer:7", "no host name"),
        ("tcp://*:7", "write [::] to listen on every address"),
        ("tcp://[fe80::1]:7", "needs its interface; write such as [fe80::1%eth0]"),
        ("tcp:/peer:7", "'://' has to follow tcp; write tcp://host:port"),
        ("TLS:peer:7", "'://' has to follow tls; write tls://host:port"),
        ("unix:/run/x", "'://' has to follow unix; write unix:///run/pineconed/peers.sock"),
        (f"tcp://{'a.' * 127}:7", "no host name"),
    ],
)
def test_refuses_with_words_that_help(text: str, hint: str) -> None:
    for parse in (parse_peer_uri, parse_listen_uri):
        with pytest.raises(UriError) as refusal:
            parse(text)
        assert hint in str(refusal.value)


@pytest.mark.parametrize("option", ["interface=eth0", "proxy=http://x:1"])
def test_who_says_where_a_link_local_address_is_need_not_name_its_zone(option: str) -> None:
    assert parse_peer_uri(f"tcp://[fe80::1]:7?{option}").host == "fe80::1"


def test_a_listener_of_wss_needs_its_certificate() -> None:
    with pytest.raises(UriError, match="wss needs a certificate; give its file by cert="):
        parse_listen_uri("wss://[::]:443?certkey=/key.pem")


@pytest.mark.parametrize("text", ["tcp://peer:0", "tcp://0.0.0.0:7", "tcp://[::]:7"])
def test_only_listeners_may_leave_the_port_or_the_address_open(text: str) -> None:
    with pytest.raises(UriError, match="cannot be dialled"):
        parse_peer_uri(text)
    assert str(parse_listen_uri(text)) == text


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        uri = parse_listen_uri(text)
    except UriError:
        return
    assert parse_listen_uri(str(uri)) == uri


@given(st.ip_addresses(v=6).filter(lambda address: not address.is_link_local), st.integers(1, 65535))
def test_ipv6_addresses_survive_the_round_trip(address: object, port: int) -> None:
    uri = parse_listen_uri(f"tcp://[{address}]:{port}")
    assert parse_listen_uri(str(uri)) == uri
