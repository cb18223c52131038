# SPDX-License-Identifier: Apache-2.0
"""Configured peers: states, back-off, what resets it. Time is the loop's own, moved by hand."""

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Coroutine
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pineconed.router.events import LinkAnnounced, LinkDown, LinkUp, NodeSeen
from pineconed.router.peer import Direction, LinkOptions, PeerType
from pineconed.transport.dialer import Dialer, DialSettings, DialSnapshot, DialState
from pineconed.transport.stream import Stream
from pineconed.transport.tcp import ConnectError
from pineconed.transport.uri import PeerUri, parse_peer_uri

KEY = bytes(32)
URI = "tcp://peer:7"
PEER = parse_peer_uri(URI)


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop in which waiting takes no time: when nothing is ready, its clock jumps to the next timer."""

    def __init__(self) -> None:
        super().__init__(selectors.SelectSelector())
        self._elapsed = 0.0
        select = self._selector.select  # type: ignore[attr-defined]

        def jump(timeout: float | None) -> object:
            assert timeout is not None, "everything waits for ever"
            self._elapsed += timeout
            return select(0)

        self._selector.select = jump  # type: ignore[attr-defined]

    def time(self) -> float:
        return self._elapsed


def run(check: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(check())


class Network:
    """What the dialler meets: connects that succeed or fail, and the driver that takes the streams."""

    def __init__(self) -> None:
        self.connects: list[tuple[float, str, int]] = []
        self.outcome: Callable[[], Awaitable[Stream]] = self.refuse
        self.attached: list[LinkOptions] = []

    async def connect(self, uri: PeerUri, timeout: float) -> Stream:
        self.connects.append((asyncio.get_running_loop().time(), uri.host, uri.port))
        return await self.outcome()

    async def refuse(self) -> Stream:
        raise ConnectError("nobody listens there")

    async def accept(self) -> Stream:
        return cast("Stream", SimpleNamespace(proven_key=KEY))

    async def hang(self) -> Stream:
        await asyncio.sleep(3600)
        raise AssertionError

    def attach(self, stream: Stream, options: LinkOptions) -> int:
        self.attached.append(options)
        return len(self.attached)

    @property
    def waits(self) -> list[float]:
        times = [moment for moment, _, _ in self.connects]
        return [later - earlier for earlier, later in pairwise(times)]


@pytest.fixture
def network() -> Network:
    return Network()


def make_dialer(network: Network, chance: float = 0.0, settings: DialSettings | None = None) -> Dialer:
    return Dialer(network.connect, network.attach, settings, lambda: chance)


def only(dialer: Dialer) -> DialSnapshot:
    (peer,) = dialer.peers()
    return peer


@pytest.mark.parametrize(
    ("chance", "expected"),
    [(0.0, [1, 2, 4, 8, 16, 30, 30]), (0.5, [1.5, 3, 6, 12, 24, 45, 45]), (1.0, [2, 4, 8, 16, 32, 60, 60])],
)
def test_the_wait_doubles_between_its_bounds(network: Network, chance: float, expected: list[float]) -> None:
    async def check() -> None:
        dialer = make_dialer(network, chance)
        dialer.add(PEER, "file")
        await asyncio.sleep(sum(expected) + 0.01)
        assert network.waits == pytest.approx(expected)
        assert only(dialer).attempts == 8
        await dialer.close()

    run(check)


def test_equal_bounds_give_a_steady_wait(network: Network) -> None:
    async def check() -> None:
        dialer = make_dialer(network, 0.7, DialSettings(backoff_min=5, backoff_max=5))
        dialer.add(PEER, "file")
        await asyncio.sleep(15.01)
        assert network.waits == pytest.approx([5, 5, 5])
        await dialer.close()

    run(check)


def test_a_peer_may_have_a_longest_wait_and_pins_of_its_own(network: Network) -> None:
    async def check() -> None:
        dialer = make_dialer(network, 1.0)
        dialer.add(parse_peer_uri(f"{URI}?maxbackoff=3s&key={KEY.hex()}"), "file")
        await asyncio.sleep(2 + 3 + 3 + 0.01)
        assert network.waits == pytest.approx([2, 3, 3])
        network.outcome = network.accept
        await asyncio.sleep(3)
        assert network.attached[0].allowed_keys == {KEY}
        assert (network.attached[0].uri, only(dialer).uri) == (URI, URI)
        dialer.remove(URI)
        await dialer.close()

    run(check)


def test_a_failed_peer_shows_its_error_and_the_next_try(network: Network) -> None:
    async def check() -> None:
        dialer = make_dialer(network)
        dialer.add(PEER, "flag")
        await asyncio.sleep(0.25)
        peer = only(dialer)
        assert (peer.source, peer.state, peer.link, peer.attempts) == ("flag", DialState.WAITING, None, 1)
        assert peer.last_error == "nobody listens there"
        assert peer.next_try_seconds == pytest.approx(0.75)
        await dialer.close()

    run(check)


def test_a_peer_passes_through_its_states(network: Network) -> None:
    async def check() -> None:
        dialer = make_dialer(network)
        network.outcome = network.hang
        dialer.add(PEER, "api")
        assert only(dialer).state is DialState.WAITING
        await asyncio.sleep(0)
        assert only(dialer).state is DialState.CONNECTING
        dialer.remove(URI)
        network.outcome = network.accept
        dialer.add(PEER, "api")
        await asyncio.sleep(0.01)
        assert only(dialer) == DialSnapshot(URI, "api", DialState.HANDSHAKE, 1, 1, None, None)
        options = LinkOptions(PeerType.REMOTE, "static", URI, Direction.OUTBOUND, True, proven_key=KEY)
        assert network.attached == [options]
        dialer.handle_event(LinkUp(1, 1, KEY))
        assert only(dialer).state is DialState.UP
        assert only(dialer).attempts == 1
        dialer.handle_event(LinkAnnounced(1, 1, KEY))
        assert only(dialer).attempts == 0
        await dialer.close()

    run(check)


def test_only_an_announcement_resets_the_wait(network: Network) -> None:
    """A full reference node completes the handshake and closes."""

    async def check() -> None:
        dialer = make_dialer(network)
        network.outcome = network.accept
        dialer.add(PEER, "file")
        for link in (1, 2, 3):
            await asyncio.sleep(0.001)
            dialer.handle_event(LinkUp(link, 1, KEY))
            dialer.handle_event(LinkDown(link, 1, KEY, "closed"))
            await asyncio.sleep(2 ** (link - 1) + 0.001)
        assert network.waits == pytest.approx([1, 2, 4], abs=0.01)
        dialer.handle_event(LinkUp(4, 1, KEY))
        dialer.handle_event(LinkAnnounced(4, 1, KEY))
        assert only(dialer).last_error is None
        dialer.handle_event(LinkDown(4, 1, KEY, "silent for 5 s"))
        dialer.handle_event(LinkDown(4, 1, KEY, "never twice"))
        await asyncio.sleep(0.5)
        peer = only(dialer)
        assert (peer.state, peer.link, peer.attempts) == (DialState.WAITING, None, 0)
        assert peer.last_error == "silent for 5 s"
        assert peer.next_try_seconds == pytest.approx(0.5)
        await asyncio.sleep(0.51)
        assert network.waits[-1] == pytest.approx(1, abs=0.01)
        await dialer.close()

    run(check)


def test_a_peer_that_hangs_up_without_a_word_is_guessed_at(network: Network) -> None:
    async def check() -> None:
        dialer = make_dialer(network)
        network.outcome = network.accept
        dialer.add(PEER, "file")
        told = {}
        for link, before in ((1, ()), (2, (LinkUp,)), (3, (LinkUp, LinkAnnounced))):
            dialer.dial_now()
            await asyncio.sleep(0.001)
            for event in before:
                dialer.handle_event(event(link, 1, KEY))
            dialer.handle_event(LinkDown(link, 1, KEY, "the peer closed the connection"))
            await asyncio.sleep(0.001)
            told[len(before)] = only(dialer).last_error or ""
        assert "before its handshake: perhaps its listener is of another scheme" in told[0]
        assert "after the handshake: perhaps it does not allow this node's key" in told[1]
        assert told[2] == "the peer closed the connection"
        await dialer.close()

    run(check)


def test_links_of_others_do_not_matter(network: Network) -> None:
    async def check() -> None:
        dialer = make_dialer(network)
        network.outcome = network.accept
        dialer.add(PEER, "file")
        await asyncio.sleep(0.01)
        for event in (LinkUp(9, 1, KEY), LinkDown(9, 1, KEY, "gone"), NodeSeen(KEY)):
            dialer.handle_event(event)
        assert only(dialer).state is DialState.HANDSHAKE
        await dialer.close()

    run(check)


def test_peers_are_independent(network: Network) -> None:
    async def check() -> None:
        dialer = make_dialer(network)
        network.outcome = network.hang
        dialer.add(parse_peer_uri("tcp://hangs:1"), "file")
        await asyncio.sleep(0.01)
        network.outcome = network.refuse
        dialer.add(parse_peer_uri("tcp://refuses:2"), "file")
        await asyncio.sleep(1.5)
        assert [host for _, host, _ in network.connects] == ["hangs", "refuses", "refuses"]
        assert [peer.state for peer in dialer.peers()] == [DialState.CONNECTING, DialState.WAITING]
        await dialer.close()
        assert dialer.peers() == []

    run(check)


def test_who_is_removed_is_dialled_no_more(network: Network) -> None:
    async def check() -> None:
        dialer = make_dialer(network)
        dialer.add(PEER, "file")
        await asyncio.sleep(0.01)
        dialer.remove(URI)
        await asyncio.sleep(100)
        assert (len(network.connects), dialer.peers()) == (1, [])

    run(check)


def test_a_link_of_a_removed_peer_is_nobodys(network: Network) -> None:
    async def check() -> None:
        dialer = make_dialer(network)
        network.outcome = network.accept
        dialer.add(PEER, "file")
        await asyncio.sleep(0.01)
        dialer.remove(URI)
        dialer.handle_event(LinkDown(1, 1, KEY, "removed by the operator"))
        await asyncio.sleep(100)
        assert len(network.connects) == 1

    run(check)


def test_a_fault_in_the_dialler_is_shown_and_does_not_end_the_dialling(network: Network) -> None:
    async def fail() -> Stream:
        raise ZeroDivisionError

    async def check() -> None:
        faults: list[object] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, context: faults.append(context["exception"]))
        dialer = make_dialer(network)
        network.outcome = fail
        dialer.add(PEER, "file")
        await asyncio.sleep(0.01)
        assert [type(fault) for fault in faults] == [ZeroDivisionError]
        (row,) = dialer.peers()
        assert (row.state, row.last_error) == ("waiting", "internal fault: ZeroDivisionError")
        await dialer.close()

    run(check)


def test_a_network_that_comes_ends_the_wait_and_the_back_off(network: Network) -> None:
    async def check() -> None:
        dialer = make_dialer(network)
        dialer.add(PEER, "file")
        await asyncio.sleep(40)  # 0, 1, 3, 7, 15, 31, and the next would be at 61
        dialer.dial_now()
        await asyncio.sleep(7)
        times = [round(moment, 1) for moment, _, _ in network.connects[6:]]
        assert times == [40, 41, 42, 43, 44, 46], (
            "as often as once a second while new, then back-off from anew"
        )
        assert only(dialer).attempts == 12
        await dialer.close()

    run(check)


def test_only_those_that_the_network_leads_to_are_dialled(network: Network) -> None:
    async def check() -> None:
        dialer = make_dialer(network)
        dialer.add(parse_peer_uri("tcp://near:1"), "file")
        dialer.add(parse_peer_uri("tcp://far:2"), "file")
        await asyncio.sleep(40)
        before = len(network.connects)
        dialer.dial_now(lambda uri: uri.host == "near")
        await asyncio.sleep(0.01)
        assert [host for _, host, _ in network.connects[before:]] == ["near"]
        await dialer.close()

    run(check)


def test_a_try_by_the_old_network_is_given_up_for_the_new_one(network: Network) -> None:
    async def check() -> None:
        dialer = make_dialer(network)
        network.outcome = network.hang
        dialer.add(PEER, "file")
        await asyncio.sleep(5)
        dialer.dial_now()
        await asyncio.sleep(0.01)
        assert [moment for moment, _, _ in network.connects] == pytest.approx([0, 5])
        await asyncio.sleep(30)
        assert [moment for moment, _, _ in network.connects] == pytest.approx([0, 5, 6.5, 8.0])
        assert only(dialer).state is DialState.CONNECTING, "once the network is new no more, a try may last"
        await dialer.close()

    run(check)


def test_a_peering_that_goes_with_the_old_network_is_dialled_without_a_wait(network: Network) -> None:
    async def check() -> None:
        dialer = make_dialer(network)
        network.outcome = network.accept
        dialer.add(PEER, "file")
        await asyncio.sleep(0.01)
        dialer.handle_event(LinkUp(1, 1, KEY))
        dialer.dial_now()
        assert only(dialer).state is DialState.UP, "it may be of another network"
        dialer.handle_event(LinkDown(1, 1, KEY, "eth0 is down"))
        await asyncio.sleep(0.01)
        assert len(network.connects) == 2
        dialer.handle_event(LinkDown(2, 1, KEY, "and again"))
        await asyncio.sleep(0.5)
        assert len(network.connects) == 2, "that was granted once"
        await dialer.close()

    run(check)
