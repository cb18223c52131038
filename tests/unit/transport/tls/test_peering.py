# SPDX-License-Identifier: Apache-2.0
"""Server and client of TLS peerings: who gets in, who is refused, and in which words on each side."""

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress

import pytest
import uvloop

from pineconed.peering.admission import Objection
from pineconed.signing import Ed25519Signer
from pineconed.transport.gate import AcceptLimits, Visit
from pineconed.transport.stream import Stream
from pineconed.transport.tcp import ConnectError, Reached, reach
from pineconed.transport.tls import server as server_module
from pineconed.transport.tls.certificate import client_context, server_tls
from pineconed.transport.tls.client import TlsClient
from pineconed.transport.tls.phase import Phase
from pineconed.transport.tls.proof import Claim, Hello, decode_hello, encode_claim, encode_hello, transcript
from pineconed.transport.tls.server import TlsService
from pineconed.transport.tls.stream import Records
from pineconed.transport.uri_options import UriOptions
from pineconed.wire.handshake import encode_handshake
from tests.unit.transport.intake import read
from tests.unit.transport.tls.house import House, run
from tests.unit.transport.tls.pairs import CLIENT, SERVER, SERVER_TLS
from tests.unit.waiting import until

OTHER = Ed25519Signer(bytes([9]) * 32)
OTHER_TLS = server_tls(bytes([9]) * 32)
WEB = "it is a web browser or server, or one side has ws:// in its URI and the other has not"


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("password", [None, "p\u00e4ssword"])
def test_both_ends_know_who_the_other_is(
    password: str | None, loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def check(house: House) -> None:
        stream = await house.dial(password=password, keys=(OTHER.public_key, SERVER.public_key), sni="any")
        await house.settle()
        assert stream.proven_key == SERVER.public_key
        assert house.streams[0].proven_key == CLIENT.public_key
        assert house.failures == []
        stream.send([b"hello"])
        assert await read(house.streams[0], 5) == b"hello"
        stream.close()

    run(check, House(password), loop)


def test_a_handshake_that_comes_with_the_proof_is_not_lost() -> None:
    """The greeting of the server follows its proof at once, in the same segment."""

    async def check(house: House) -> None:
        original = house.attach

        def greet(stream: Stream, visit: Visit) -> None:
            original(stream, visit)
            stream.send([encode_handshake(SERVER)])

        house.attach = greet  # type: ignore[method-assign]
        stream = await house.dial()
        assert stream.pending
        assert await read(stream, 104) == encode_handshake(SERVER)
        stream.close()

    run(check)


def test_a_wrong_pin_ends_it_before_we_say_who_we_are() -> None:
    async def check(house: House) -> None:
        words = await house.refuse(keys=(OTHER.public_key,))
        key = SERVER.public_key.hex()
        assert words == f"another node answered: its key {key} is not the one after key= in the URI"
        await house.settle()
        (seen,) = house.failures
        assert seen == "TLS peering refused: it closed the connection before its proof was complete"

    run(check)


@pytest.mark.parametrize(
    ("given", "at_client", "at_server"),
    [
        ("wrong", "the server refused the password", "gave a wrong password"),
        (None, "the server wants a password: add password=... to the URI", "gave no password"),
    ],
)
def test_without_the_password_nobody_comes_in(given: str | None, at_client: str, at_server: str) -> None:
    async def check(house: House) -> None:
        assert await house.refuse(password=given) == at_client
        await house.settle()
        assert house.failures == [f"the node {CLIENT.public_key.hex()} {at_server}"]

    run(check, House("right"))


def test_a_server_without_the_password_is_not_trusted() -> None:
    async def check(house: House) -> None:
        words = await house.refuse(password="right")
        assert words == "the server has no password, but the URI has one: it may be another server"

    run(check)


def test_a_server_that_only_pretends_to_know_the_password_is_not_trusted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def believe(self: TlsService, *_: object) -> None:
        """Welcome everybody, whatever the proof is."""

    monkeypatch.setattr(TlsService, "_check", believe)

    async def check(house: House) -> None:
        words = await house.refuse(password="right")
        assert words == "the server does not know the password: it is not the one it should be"

    run(check, House("guessed"))


@pytest.mark.parametrize(
    ("objection", "at_client"),
    [
        (Objection("the key is blocked"), "the server does not allow this node's key"),
        (Objection("this node has 3 peers", full=True), "the server has too many peers"),
    ],
)
def test_who_is_not_admitted_is_told_after_the_proof(objection: Objection, at_client: str) -> None:
    async def check(house: House) -> None:
        assert await house.refuse() == at_client
        await house.settle()
        assert house.failures == [objection.text]

    run(check, House(objects=objection))


# ---------------------------------------------------------------- those who lie


async def open_phase(house: House) -> Phase:
    """A client that has done TLS and says next what the test wants."""
    reached = await reach("127.0.0.1", house.port, 5)
    phase = Phase(reached.socket, Records(client_context(), server_side=False), "")
    await phase.shake_hands()
    return phase


def test_a_recorded_proof_is_worth_nothing() -> None:
    async def check(house: House) -> None:
        said: list[bytes] = []
        answers = []
        for _ in range(2):
            phase = await open_phase(house)
            hello = decode_hello(await phase.read(34))
            if not said:
                told = transcript(hello.nonce, SERVER_TLS.certificate, CLIENT.public_key)
                said.append(encode_claim(Claim(False, CLIENT.public_key, CLIENT.sign(told))))
            await phase.write(said[0])
            answers.append(await phase.read(1))
            phase._socket.close()
        assert answers == [b"\0", b"\1"]
        assert len(house.streams) == 1
        (words,) = house.failures
        assert words.endswith("is none for this connection: replayed or relayed")

    run(check)


async def carry(source: socket.socket, target: socket.socket, record: bytearray) -> None:
    """Pass on what comes, and keep it."""
    loop = asyncio.get_running_loop()
    while data := await loop.sock_recv(source, 65536):
        record += data
        await loop.sock_sendall(target, data)


def test_the_recorded_bytes_of_a_whole_peering_are_refused() -> None:
    """From the first byte of TLS to the handshake, as somebody on the path has them."""

    async def check(house: House) -> None:
        near, far = socket.socketpair()
        near.setblocking(False)
        far.setblocking(False)
        onward = (await reach("127.0.0.1", house.port, 5)).socket
        recorded = bytearray()
        ways = [(far, onward, recorded), (onward, far, bytearray())]
        carrying = [asyncio.ensure_future(carry(*way)) for way in ways]
        stream = await TlsClient(CLIENT).connect(Reached(near, "it"), UriOptions(), 5)
        stream.send([encode_handshake(CLIENT)])
        await house.settle()
        await read(house.streams[0], 104)
        for task in carrying:
            task.cancel()
        await asyncio.gather(*carrying, return_exceptions=True)
        again = (await reach("127.0.0.1", house.port, 5)).socket
        await asyncio.get_running_loop().sock_sendall(again, bytes(recorded))
        await until(lambda: house.failures)
        assert house.failures == ["TLS peering refused: TLS failed: bytes were changed on the way"]
        assert len(house.streams) == 1
        stream.close()
        for sock in (far, onward, again):
            sock.close()

    run(check)


def test_a_proof_relayed_through_a_third_node_is_worth_nothing() -> None:
    """Somebody in the middle shows the client his own certificate and passes everything on."""

    async def relay(house: House, client_side: socket.socket) -> bytes:
        towards_client = Phase(client_side, Records(OTHER_TLS.context, server_side=True), "")
        await towards_client.shake_hands()
        towards_server = await open_phase(house)
        await towards_client.write(await towards_server.read(34))
        await towards_server.write(await towards_client.read(98))
        answer = await towards_server.read(1)
        await towards_client.write(answer)
        for phase in (towards_client, towards_server):
            phase._socket.close()
        return answer

    async def check(house: House) -> None:
        near, far = socket.socketpair()
        near.setblocking(False)
        far.setblocking(False)
        victim = TlsClient(CLIENT).connect(Reached(near, "relay"), UriOptions(), 5)
        refused, answer = await asyncio.gather(victim, relay(house, far), return_exceptions=True)
        assert answer == b"\1"
        assert str(refused) == (
            "relay: the server refused the proof of this node's key: somebody in between relays it"
        )
        (words,) = house.failures
        assert words.endswith("is none for this connection: replayed or relayed")
        assert house.streams == []

    run(check)


def test_a_proof_for_another_key_is_worth_nothing() -> None:
    async def check(house: House) -> None:
        phase = await open_phase(house)
        hello = decode_hello(await phase.read(34))
        told = transcript(hello.nonce, SERVER_TLS.certificate, OTHER.public_key)
        await phase.write(encode_claim(Claim(False, OTHER.public_key, CLIENT.sign(told))))
        assert await phase.read(1) == b"\1"
        phase._socket.close()

    run(check)


@pytest.mark.parametrize(
    ("first", "words"),
    [
        (encode_handshake(OTHER), "it speaks Pinecone without TLS: its URI has to begin with tls://"),
        (b"GET / HTTP/1.1\r\n\r\n", f"it speaks HTTP, not TLS: {WEB}"),
        (b"SSH-2.0-OpenSSH\r\n", "it speaks SSH, not TLS, so it is no pineconed"),
        (bytes(40), "it speaks something, not TLS, so it is no pineconed"),
        (b"\x16\x03\x01\x00\x05hello", "TLS failed: "),
        (b"", "it closed the connection before its proof was complete"),
    ],
)
def test_who_speaks_no_tls_is_told_apart(first: bytes, words: str) -> None:
    async def check(house: House) -> None:
        reached = await reach("127.0.0.1", house.port, 5)
        await asyncio.get_running_loop().sock_sendall(reached.socket, first)
        if not first:
            reached.socket.close()
        await house.settle()
        assert house.failures[0].startswith(f"TLS peering refused: {words}")
        if not first.startswith(b"\x16") and first:
            assert (await asyncio.get_running_loop().sock_recv(reached.socket, 99))[:2] == b"\x15\3"
        reached.socket.close()

    run(check)


def test_another_use_of_tls_is_told_apart() -> None:
    async def check(house: House) -> None:
        for version, words in ((ssl.TLSVersion.TLSv1_3, "not pinecone/1"), (ssl.TLSVersion.TLSv1_2, "older")):
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1_2, version
            house.failures.clear()
            with suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", house.port, ssl=context)
                writer.close()
            await house.settle()
            assert words in house.failures[0]

    run(check)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (encode_handshake(SERVER), "it speaks Pinecone without TLS: the URI has to begin with tcp://"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", f"it speaks HTTP, not TLS: {WEB}"),
        (b"", "it closed the connection before its proof was complete"),
    ],
)
def test_a_server_without_tls_is_told_apart(answer: bytes, words: str) -> None:
    async def check() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            writer.write(answer)
            writer.close()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            with pytest.raises(ConnectError) as refusal:
                await TlsClient(CLIENT).connect(await reach("127.0.0.1", port, 5), UriOptions(), 5)
        assert str(refusal.value) == f"127.0.0.1:{port}: {words}"

    asyncio.run(check())


# ---------------------------------------------------------------- those who take their time


def test_who_is_slow_is_sent_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "HANDSHAKE_TIMEOUT", 0.2)

    async def check(house: House) -> None:
        phase = await open_phase(house)
        await house.settle()
        assert house.failures == ["no TLS handshake and proof within 10 s"]
        phase._socket.close()

    run(check)


def test_a_server_that_says_nothing_has_a_deadline() -> None:
    async def check() -> None:
        near, far = socket.socketpair()
        near.setblocking(False)
        with far, pytest.raises(ConnectError, match=r"^it: no answer \(connection timed out\)$"):
            await TlsClient(CLIENT).connect(Reached(near, "it"), UriOptions(), 0.1)

    asyncio.run(check())


def test_those_in_the_tls_phase_give_way_to_others() -> None:
    async def check(house: House) -> None:
        idle = [await reach("127.0.0.1", house.port, 5) for _ in range(3)]
        await until(lambda: house.gate.half_open == 3)
        for visit in house.gate._half_open:
            visit.since -= 3
        stream = await house.dial()
        await house.settle()
        assert house.failures == ["too many handshakes at once: it gave way to another connection"]
        for reached in idle:
            reached.socket.close()
        stream.close()

    run(check, House(limits=AcceptLimits(half_open=3)))


def test_who_gives_way_before_his_first_word_leaves_nothing_behind() -> None:
    async def check(house: House) -> None:
        near, far = socket.socketpair()
        near.setblocking(False)
        visit = house.gate.admit("192.0.2.1")
        assert visit is not None
        house.service.serve(near, "early", visit)
        visit.give_way()
        await house.settle()
        assert near.fileno() == -1
        assert house.gate.half_open == 0
        assert not any(source.links for source in house.gate._sources.values())
        far.close()

    run(check)


def test_a_fault_of_ours_is_told_and_costs_one_visitor(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: bytes) -> None:
        raise ZeroDivisionError("a mistake")

    monkeypatch.setattr(server_module, "decode_claim", fail)

    async def check(house: House) -> None:
        assert await house.refuse() == "it closed the connection before its proof was complete"
        await house.settle()
        assert house.failures == ["internal fault: ZeroDivisionError: a mistake"]

    run(check)


def test_closing_sends_everybody_away_who_is_not_in_yet() -> None:
    async def check(house: House) -> None:
        reached = await reach("127.0.0.1", house.port, 5)
        await until(lambda: house.gate.half_open)
        await house.service.close()
        await house.settle()
        assert house.failures == ["the listener was closed"]
        assert house.gate.half_open == 0
        assert await asyncio.get_running_loop().sock_recv(reached.socket, 1) == b""
        reached.socket.close()

    run(check)


def test_bytes_without_end_are_cut_off() -> None:
    async def check(house: House) -> None:
        phase = await open_phase(house)
        with suppress(OSError):
            for _ in range(40):
                await phase._loop.sock_sendall(phase._socket, b"\x17\3\3\x40\0" + bytes(2000))
        await house.settle()
        assert "TLS failed" in house.failures[0] or "without a proof of its key" in house.failures[0]
        phase._socket.close()

    run(check)


def test_hellos_of_another_version_are_refused() -> None:
    async def serve(far: socket.socket) -> None:
        phase = Phase(far, Records(SERVER_TLS.context, server_side=True), "")
        await phase.shake_hands()
        await phase.write(b"\7" + encode_hello(Hello(False, bytes(32)))[1:])

    async def check() -> None:
        near, far = socket.socketpair()
        near.setblocking(False)
        far.setblocking(False)
        dialled = TlsClient(CLIENT).connect(Reached(near, "it"), UriOptions(), 5)
        refused, _ = await asyncio.gather(dialled, serve(far), return_exceptions=True)
        assert str(refused) == "it: version 7 of TLS peerings, not 1"
        far.close()

    asyncio.run(check())
