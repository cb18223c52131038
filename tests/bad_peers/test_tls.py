# SPDX-License-Identifier: Apache-2.0
"""Who must not come in by a TLS listener, or must not be dialled: one clear line each, and nobody suffers.

What each lie is made of is tried without a daemon in tests/unit/transport/tls; here it is the daemon's log,
the admin API and the other peers that count.
"""

import itertools
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest

from pineconed.signing import Ed25519Signer
from pineconed.transport.tls.certificate import client_context, server_tls
from pineconed.transport.tls.proof import (
    CLAIM_LENGTH,
    HELLO_LENGTH,
    NONCE_LENGTH,
    PROOF_LENGTH,
    Claim,
    Hello,
    Reason,
    encode_claim,
    encode_hello,
    transcript,
)
from pineconed.wire.handshake import encode_handshake
from tests.network.conftest import require_lab
from tests.network.lab import Lab, Namespace, wait_until
from tests.network.nodes import PORT, Pineconed, seed_with_prefix

pytestmark = [
    pytest.mark.root,
    pytest.mark.netns,
    pytest.mark.slow,
    pytest.mark.patient,
    pytest.mark.timeout(120),
]

TLS_PORT, LOCKED_PORT, MEMBERS_PORT = 7001, 7002, 7003
SERVER_SEED = seed_with_prefix("c")
MEMBER, STRANGER = Ed25519Signer(seed_with_prefix("a")), Ed25519Signer(seed_with_prefix("0"))
PASSWORD = "Qm3xw2pBzF8bJ1hT0aVdNg"


class Place:
    """A node with listeners of every kind, and an honest node that peers with it over TLS."""

    def __init__(self, host: Namespace) -> None:
        self.host = host
        self.node = Pineconed(
            host,
            [
                f"127.0.0.1:{PORT}",
                f"tls://127.0.0.1:{TLS_PORT}",
                f"tls://127.0.0.1:{LOCKED_PORT}?password={PASSWORD}",
                f"tls://127.0.0.1:{MEMBERS_PORT}?key={MEMBER.public_key.hex()}",
            ],
            tun="none",
            seed=SERVER_SEED,
        ).wait_ready()
        honest = f"tls://127.0.0.1:{LOCKED_PORT}?password={PASSWORD}&key={self.node.public_key.hex()}"
        self.honest = Pineconed(host, [], [honest], tun="none", seed=seed_with_prefix("e", 1)).wait_ready()
        wait_until(lambda: self.node.place().root == self.honest.public_key.hex(), 15, "the honest peering")
        self._sources = itertools.count(1)

    def connect(self, port: int) -> socket.socket:
        """Connect, each time from another address, because the log is limited for each."""
        return self.host.connect("127.0.0.1", port, source=f"127.0.1.{next(self._sources)}")

    def tls(self, port: int = TLS_PORT) -> ssl.SSLSocket:
        """A client that has done TLS."""
        return client_context().wrap_socket(self.connect(port))

    def log_lines(self, node: Pineconed, words: str) -> list[str]:
        return [line for line in node.process.text().splitlines() if words in line]


@pytest.fixture(scope="module")
def shared_place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """Start the two nodes once."""
    require_lab()
    with Lab(tmp_path_factory.mktemp("bad-tls")) as lab:
        yield Place(lab.host("target"))


@pytest.fixture
def place(shared_place: Place) -> Iterator[Place]:
    """Lend the place, and see afterwards that the honest peering noticed nothing."""
    ended = len(shared_place.honest.disconnects())
    yield shared_place
    assert shared_place.node.process.alive
    assert len(shared_place.honest.disconnects()) == ended
    assert shared_place.node.place().root == shared_place.honest.public_key.hex()


def told_once(place: Place, words: str, before: int) -> None:
    """The node has logged these words in exactly one new line."""
    wait_until(
        lambda: len(place.log_lines(place.node, words)) > before,
        5,
        lambda: f"{words!r} in {place.node.process.text()[-2000:]}",
    )
    assert len(place.log_lines(place.node, words)) == before + 1


def read_all(connection: socket.socket) -> bytes:
    data = b""
    try:
        while more := connection.recv(4096):
            data += more
    except OSError:
        pass
    return data


# ---------------------------------------------------------------- those who come in


CERTIFICATE = server_tls(SERVER_SEED).certificate


def claim(nonce: bytes, certificate: bytes, signer: Ed25519Signer = STRANGER) -> bytes:
    return encode_claim(
        Claim(False, signer.public_key, signer.sign(transcript(nonce, certificate, signer.public_key)))
    )


def test_a_recorded_proof_is_refused(place: Place) -> None:
    words = f"the proof of the key {STRANGER.public_key.hex()} is none for this connection"
    before = len(place.log_lines(place.node, words))
    with place.tls() as first:
        recorded = claim(first.recv(34)[2:], CERTIFICATE)
        first.sendall(recorded)
        assert first.recv(1) == b"\0"
    with place.tls() as second:
        assert len(second.recv(34)) == 34
        second.sendall(recorded + encode_handshake(STRANGER))
        assert read_all(second) == b"\1"
    told_once(place, words, before)


def test_a_proof_made_for_another_server_is_refused(place: Place) -> None:
    """What a node in between gets, when it passes on the server's numbers and shows its own certificate."""
    words = f"the proof of the key {STRANGER.public_key.hex()} is none for this connection"
    before = len(place.log_lines(place.node, words))
    with place.tls() as relayed:
        relayed.sendall(claim(relayed.recv(34)[2:], server_tls(bytes(32)).certificate))
        assert read_all(relayed) == b"\1"
    told_once(place, words, before)


def test_the_handshake_must_be_that_of_the_proven_key(place: Place) -> None:
    words = f"the handshake names the key {MEMBER.public_key.hex()}, but TLS proved another"
    with place.tls() as liar:
        liar.sendall(claim(liar.recv(34)[2:], CERTIFICATE))
        assert liar.recv(1) == b"\0"
        liar.sendall(encode_handshake(MEMBER))
        read_all(liar)
    told_once(place, words, 0)


def test_a_key_that_is_not_allowed_is_refused_and_one_that_is_comes_in(place: Place) -> None:
    with place.tls(MEMBERS_PORT) as stranger:
        stranger.sendall(claim(stranger.recv(34)[2:], CERTIFICATE))
        assert read_all(stranger) == b"\3"
    told_once(place, f"the key {STRANGER.public_key.hex()} is not allowed here", 0)
    with place.tls(MEMBERS_PORT) as member:
        member.sendall(claim(member.recv(34)[2:], CERTIFICATE, MEMBER))
        assert member.recv(1) == b"\0"


def test_without_a_password_nobody_comes_in(place: Place) -> None:
    with place.tls(LOCKED_PORT) as stranger:
        stranger.sendall(claim(stranger.recv(34)[2:], CERTIFICATE))
        assert read_all(stranger) == b"\2"
    told_once(place, f"the node {STRANGER.public_key.hex()} gave no password", 0)


@pytest.mark.parametrize(
    ("port", "first", "words"),
    [
        (TLS_PORT, encode_handshake(STRANGER), "it speaks Pinecone without TLS: its URI has to begin with"),
        (TLS_PORT, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "it speaks HTTP, not TLS"),
        (PORT, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "the peer speaks HTTP"),
        (PORT, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "the peer speaks TLS"),
    ],
)
def test_what_belongs_to_another_port_is_named_at_once(
    place: Place, port: int, first: bytes, words: str
) -> None:
    start = time.monotonic()
    with place.connect(port) as lost:
        lost.sendall(first)
        read_all(lost)
    assert time.monotonic() - start < 2
    told_once(place, words, 0)


# ---------------------------------------------------------------- those who are dialled


WRONG_PIN = f"tls://127.0.0.1:{TLS_PORT}?key={MEMBER.public_key.hex()}"
DIALLED = {
    WRONG_PIN: "another node answered: its key",
    f"tls://127.0.0.1:{LOCKED_PORT}": "the server wants a password: add password=... to the URI",
    f"tls://127.0.0.1:{LOCKED_PORT}?password=wrong": "the server refused the password",
    f"tls://127.0.0.1:{TLS_PORT}?password=any": "the server has no password, but the URI has one",
    f"tls://127.0.0.1:{MEMBERS_PORT}": "the server does not allow this node's key",
    f"tls://127.0.0.1:{PORT}": "it speaks Pinecone without TLS: the URI has to begin with tcp://",
    f"tcp://127.0.0.1:{TLS_PORT}": "the peer speaks TLS: one side has tls:// or wss:// in its URI",
    f"tcp://127.0.0.1:{PORT}?key={MEMBER.public_key.hex()}": "another node answered: its key",
}


DIALLING_SEED = seed_with_prefix("1")


@pytest.mark.parametrize("uri", DIALLED)
def test_who_dials_in_vain_is_told_why(place: Place, uri: str) -> None:
    assert_told_why(place, uri, DIALLED[uri])


def assert_told_why(place: Place, uri: str, words: str, configuration: str = "") -> None:
    """Dial: the peer's row says why it fails, and so does one line of the log, without any password."""
    with ExitStack() as stack:
        dialling = Pineconed(
            place.host, [], [uri], tun="none", seed=DIALLING_SEED, configuration=configuration
        )
        stack.callback(dialling.process.stop)
        dialling.wait_ready()

        def error() -> str:
            return str(dialling.peers()[0]["last_error"])

        wait_until(lambda: words in error(), 10, lambda: f"{words!r} in {dialling.process.text()[-2000:]}")
        wait_until(lambda: bool(place.log_lines(dialling, words)), 5, "the line in the log")
        lines = place.log_lines(dialling, words)
        assert len(lines) == 1
        assert re.search("cannot connect|handshake failed|peering did not come up", lines[0])
        assert "password=any" not in dialling.process.text()
        assert "password=wrong" not in dialling.process.text()


ONCE = "[peering]\nbackoff_min = 60\n"
"""Have a peer dialled only once while a test lasts."""


def test_a_proof_relayed_by_a_third_node_is_refused_and_both_ends_say_so(place: Place) -> None:
    """It has a key of its own, which the one who dials has not pinned, and passes on all that is said."""
    key = Pineconed.key_of(DIALLING_SEED).hex()

    def pass_on(caller: ssl.SSLSocket) -> None:
        with place.tls() as onward:
            caller.sendall(onward.recv(HELLO_LENGTH))
            onward.sendall(caller.recv(CLAIM_LENGTH))
            caller.sendall(onward.recv(1))

    with somebody_else(place, pass_on) as port:
        words = "the server refused the proof of this node's key: somebody in between relays it"
        assert_told_why(place, f"tls://127.0.0.1:{port}", words, ONCE)
    told_once(place, f"the proof of the key {key} is none for this connection: replayed or relayed", 0)


def test_a_server_that_does_not_know_the_password_is_refused(place: Place) -> None:
    """It asks for one and welcomes whoever shows any, as somebody does who is after the proof."""

    def welcome(caller: ssl.SSLSocket) -> None:
        caller.sendall(encode_hello(Hello(True, bytes(NONCE_LENGTH))))
        assert len(caller.recv(CLAIM_LENGTH + PROOF_LENGTH)) == CLAIM_LENGTH + PROOF_LENGTH
        caller.sendall(bytes([Reason.WELCOME]) + bytes(PROOF_LENGTH))
        caller.recv(1)

    with somebody_else(place, welcome) as port:
        words = "the server does not know the password: it is not the one it should be"
        assert_told_why(place, f"tls://127.0.0.1:{port}?password=any", words, ONCE)


@contextmanager
def somebody_else(place: Place, treat: Callable[[ssl.SSLSocket], None]) -> Iterator[int]:
    """A TLS server with another key, which does as the test says; gives its port."""
    context = server_tls(bytes([7]) * 32).context
    stopped = threading.Event()

    def serve(listening: socket.socket) -> None:
        while not stopped.is_set():
            with suppress(OSError):
                accepted, _ = listening.accept()
                accepted.settimeout(5)
                with accepted, context.wrap_socket(accepted, server_side=True) as caller:
                    treat(caller)

    with place.host.open_socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        listening.settimeout(0.1)
        thread = threading.Thread(target=serve, args=(listening,))
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            stopped.set()
            thread.join()


def test_a_network_that_is_closed_by_keys(place: Place) -> None:
    """`peering.allowed_keys` holds at every listener that has no keys of its own."""
    member, port = seed_with_prefix("b"), 7004
    allowed = f'[peering]\nallowed_keys = ["{Pineconed.key_of(member).hex()}"]\n'
    with ExitStack() as stack:
        closed = Pineconed(
            place.host,
            [f"tls://127.0.0.1:{port}"],
            tun="none",
            seed=seed_with_prefix("d"),
            configuration=allowed,
        )
        stack.callback(closed.process.stop)
        closed.wait_ready()
        uri = f"tls://127.0.0.1:{port}?key={closed.public_key.hex()}"
        assert_told_why(place, uri, "the server does not allow this node's key")
        key = Pineconed.key_of(DIALLING_SEED).hex()
        closed.process.wait_for(re.escape(f"the key {key} is not allowed (peering.allowed_keys)"))
        inside = Pineconed(place.host, [], [uri], tun="none", seed=member, configuration=allowed)
        stack.callback(inside.process.stop)
        inside.wait_ready()
        closed.wait_peers(1)
        [row] = closed.peers()
        assert (row["public_key"], row["proven"]) == (inside.public_key.hex(), True)


# ---------------------------------------------------------------- those who take their time


def idle_connection(place: Place, port: int, number: int) -> socket.socket:
    """One that stops after the TCP handshake, in the middle of a ClientHello, or after TLS has begun."""
    connection = place.host.open_socket()
    connection.setblocking(False)
    connection.bind((f"127.0.2.{1 + number % 100}", 0))
    connection.connect_ex(("127.0.0.1", port))
    return connection


def peering_seconds(place: Place) -> float:
    """How long an honest newcomer takes from the connect to the greeting."""
    start = time.monotonic()
    with client_context().wrap_socket(place.host.connect("127.0.0.1", TLS_PORT)) as newcomer:
        newcomer.sendall(claim(newcomer.recv(34)[2:], CERTIFICATE, MEMBER) + encode_handshake(MEMBER))
        got = b""
        while len(got) < 1 + 104:
            more = newcomer.recv(4096)
            assert more
            got += more
    return time.monotonic() - start


def test_1000_idle_connections_keep_nobody_out(place: Place) -> None:
    """From 100 addresses; a third says nothing, a third begins TLS, a third says less than a record."""
    with ExitStack() as stack:
        idle = [stack.enter_context(idle_connection(place, TLS_PORT, number)) for number in range(1000)]
        time.sleep(1)
        hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
        for number, connection in enumerate(idle):
            with suppress(OSError):
                connection.send((b"", hello, hello[:1])[number % 3] or b"\x16")
        took = []
        for _ in range(8):
            took.append(peering_seconds(place))
            time.sleep(0.5)
        print("peering beside 1,000 idle connections:", " ".join(f"{seconds:.3f}" for seconds in took), "s")
        assert max(took) < 1
