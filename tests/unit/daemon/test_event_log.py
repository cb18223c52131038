# SPDX-License-Identifier: Apache-2.0
"""What of the node's life reaches the log, and in which words."""

from ipaddress import IPv6Address
from typing import Any

import pytest

from pineconed.daemon.event_log import EventLog
from pineconed.daemon.log_limiter import LINES_PER_CAUSE, WINDOW, Level, LogLimiter
from pineconed.discovery.policy import Dial
from pineconed.discovery.segments import Segment
from pineconed.overlay.address import address_of
from pineconed.overlay.events import DialFailed, EchoAnswered, HandshakeRefused, SessionDown, SessionUp
from pineconed.router.events import (
    CloseLink,
    LinkAnnounced,
    LinkDown,
    LinkUp,
    NodeSeen,
    ParentChanged,
    PeerMisbehaved,
    RootChanged,
)
from pineconed.router.peer import Direction, LinkOptions, PeerType
from pineconed.transport.ble.address import AddressKind, BleAddress
from pineconed.transport.ble.backend import AdapterReport, AdapterState
from pineconed.transport.dialer import DialSnapshot, DialState
from pineconed.wire.root import Root

KEY = bytes(range(32))
OTHER_KEY = bytes(32)
URI = "tcp://peer.example:1"


def dial(*, attempts: int = 1, next_try_seconds: float | None = 1.26) -> DialSnapshot:
    """A configured peer that is down, as the dialer shows it."""
    return DialSnapshot(URI, "file", DialState.WAITING, None, attempts, "nobody there", next_try_seconds)


class Desk:
    """An event log with everything it writes in a list."""

    def __init__(self) -> None:
        self.now = 0.0
        self.lines: list[tuple[str, str, dict[str, Any]]] = []
        self.limiter = LogLimiter(self._write, lambda _: True, lambda: self.now)
        self.log = EventLog(self.limiter)

    def _write(self, level: Level, event: str, fields: dict[str, Any]) -> None:
        self.lines.append((level, event, fields))

    def told(self) -> list[tuple[str, str, dict[str, Any]]]:
        """Lines above debug since the last call."""
        lines = [line for line in self.lines if line[0] != "debug"]
        self.lines.clear()
        return lines

    def come_in(self, link: int, source: str = "192.0.2.7") -> None:
        options = LinkOptions(PeerType.REMOTE, "", f"tcp://{source}:5", Direction.INBOUND)
        self.log.opened(link, f"{source}:5", source, options)

    def go_out(self, link: int) -> None:
        options = LinkOptions(PeerType.REMOTE, "static", URI, Direction.OUTBOUND, configured=True)
        self.log.opened(link, "192.0.2.9:1", "192.0.2.9", options)

    def announced(self, link: int) -> None:
        self.log.handle_event(LinkUp(link, 3, KEY))
        self.log.handle_event(LinkAnnounced(link, 3, KEY))


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_a_peering_begins_when_its_first_announcement_came(desk: Desk) -> None:
    desk.go_out(1)
    desk.log.handle_event(LinkUp(1, 3, KEY))
    assert desk.told() == []
    desk.log.handle_event(LinkAnnounced(1, 3, KEY))
    known = {"direction": "outbound", "remote": "192.0.2.9:1", "uri": URI, "port": 3, "key": KEY.hex()}
    assert desk.told() == [("info", "peering up", known)]


def test_its_end_is_one_line(desk: Desk) -> None:
    desk.come_in(1)
    desk.announced(1)
    desk.told()
    desk.log.handle_event(LinkDown(1, 3, KEY, "gone"))
    known = {"direction": "inbound", "remote": "192.0.2.7:5", "reason": "gone", "port": 3, "key": KEY.hex()}
    assert desk.told() == [("info", "peering down", known)]


def test_one_that_ends_before_it_began_is_told_as_such(desk: Desk) -> None:
    desk.go_out(1)
    desk.log.handle_event(LinkUp(1, 3, KEY))
    desk.log.handle_event(LinkDown(1, 3, KEY, "the peer closed the connection"))
    [(level, text, fields)] = desk.told()
    assert (level, text) == ("info", "peering did not come up")
    assert "after the handshake: perhaps it does not allow this node's key" in fields["reason"]


def test_a_peer_at_fault_makes_a_warning_and_still_one_line(desk: Desk) -> None:
    desk.come_in(1)
    desk.announced(1)
    desk.told()
    desk.log.handle_event(CloseLink(1, "bad magic", remote_fault=True))
    desk.log.handle_event(LinkDown(1, 3, KEY, "bad magic"))
    assert [line[:2] for line in desk.told()] == [("warning", "peering down")]


def test_one_that_is_turned_away_is_named_and_not_at_fault(desk: Desk) -> None:
    desk.come_in(1)
    desk.log.handle_event(CloseLink(1, "no free port", remote_fault=False))
    desk.log.handle_event(LinkDown(1, None, KEY, "no free port"))
    known = {"direction": "inbound", "remote": "192.0.2.7:5", "reason": "no free port", "key": KEY.hex()}
    assert desk.told() == [("info", "handshake failed", known)]


def test_one_source_gets_a_few_lines_whatever_ports_and_keys_it_uses(desk: Desk) -> None:
    for link in range(100):
        desk.come_in(link)
        desk.log.handle_event(LinkDown(link, 3, link.to_bytes(32, "big"), "gone"))
    assert len(desk.told()) == 5
    desk.now += WINDOW
    desk.limiter.flush()
    [(_, _, fields)] = desk.told()
    assert fields["repeated"] == 95


def test_bad_frames_are_told_once_per_cause(desk: Desk) -> None:
    desk.come_in(1)
    for cause in ("unknown type", "bad signature") * 10:
        desk.log.handle_event(PeerMisbehaved(1, cause, "type 9"))
    assert [line[2]["cause"] for line in desk.told()] == ["unknown type", "bad signature"]


def test_bad_frames_name_the_peer_that_sent_them(desk: Desk) -> None:
    desk.come_in(1)
    desk.log.handle_event(LinkUp(1, 3, KEY))
    desk.log.handle_event(PeerMisbehaved(1, "unknown type", "type 9"))
    [(_, event, fields)] = [line for line in desk.told() if line[0] == "warning"]
    assert (event, fields["key"], fields["port"]) == ("bad frame dropped", KEY.hex(), 3)


def test_refused_connections_are_told_once_per_source_and_limit(desk: Desk) -> None:
    for _ in range(10):
        desk.log.refused("half_open", "192.0.2.0")
    assert desk.told() == [("warning", "connection refused", {"limit": "half_open", "source": "192.0.2.0"})]


def test_a_crowd_that_waits_is_told_once(desk: Desk) -> None:
    for _ in range(100):
        desk.log.crowded()
    fields = {"limit": "total_accepts_per_second"}
    assert desk.told() == [("warning", "connections come too fast and wait", fields)]


def test_a_system_that_gives_no_connections_is_told_once_per_reason(desk: Desk) -> None:
    for reason in ("too many open files", "out of memory") * 10:
        desk.log.out_of_order(reason, 1.0)
    assert [(level, event, fields["reason"]) for level, event, fields in desk.told()] == [
        ("error", "cannot accept peers for now", "too many open files"),
        ("error", "cannot accept peers for now", "out of memory"),
    ]


def test_a_flood_from_many_sources_is_bounded_and_hides_no_configured_peer(desk: Desk) -> None:
    desk.go_out(1000)
    desk.announced(1000)
    desk.told()
    for link in range(1000):
        desk.come_in(link, f"192.0.{link // 250}.{link % 250}")
        desk.announced(link)
        desk.log.handle_event(LinkDown(link, 3, KEY, "gone"))
    assert len(desk.told()) == 2 * LINES_PER_CAUSE
    desk.log.handle_event(LinkDown(1000, 3, KEY, "gone"))
    assert [fields["uri"] for _, _, fields in desk.told()] == [URI]


def test_nothing_is_remembered_of_links_that_are_gone(desk: Desk) -> None:
    for link in range(10):
        desk.come_in(link)
        desk.log.handle_event(CloseLink(link, "x", remote_fault=True))
        desk.log.handle_event(LinkAnnounced(link, 1, KEY))
        desk.log.handle_event(LinkDown(link, None, None, "x"))
    assert not desk.log._links
    assert not desk.log._announced
    assert not desk.log._at_fault


def test_what_discovery_does_is_told_per_interface(desk: Desk) -> None:
    address = IPv6Address("fe80::1")
    eth0, eth1 = (Segment(f"eth{at}", at, 6, address, frozenset({address})) for at in (0, 1))
    place = {"interface": "eth0", "address": "fe80::1"}
    desk.log.lan_on(eth0)
    desk.log.lan_failed(eth0, "no")
    desk.log.lan_double(eth0, IPv6Address("fe80::2"))
    desk.log.lan_off(eth0)
    told = desk.told()
    assert [(level, text) for level, text, _ in told] == [
        ("info", "LAN discovery is on"),
        ("warning", "LAN discovery does not work"),
        ("warning", "another node on the network uses this node's key"),
        ("info", "LAN discovery is off"),
    ]
    assert all(fields.items() >= place.items() for _, _, fields in told)
    for number in range(1000):
        for segment in (eth0, eth1):
            dial = Dial(number.to_bytes(32), segment, IPv6Address(number), 7)
            desk.log.lan_dial_failed(dial, "nobody there")
    assert len(desk.told()) == 2 * 5


def test_neighbours_share_their_lines_whatever_port_they_name(desk: Desk) -> None:
    for link in range(100):
        uri = f"tcp://[fe80::2%eth0]:{link}"
        options = LinkOptions(PeerType.MULTICAST, "eth0", uri, Direction.OUTBOUND)
        desk.log.opened(link, f"[fe80::2%eth0]:{link}", "fe80::2%eth0", options)
        desk.log.handle_event(LinkDown(link, None, None, "refused"))
    assert len(desk.told()) == 5


def test_an_unknown_link_does_no_harm(desk: Desk) -> None:
    desk.log.handle_event(LinkDown(99, None, None, "x"))
    assert desk.told() == [("info", "handshake failed", {"reason": "x"})]


# ---------------------------------------------------------------- the network


def test_a_new_root_key_is_told_its_sequences_are_not(desk: Desk) -> None:
    desk.log.handle_event(RootChanged(Root(OTHER_KEY, 1), ()))
    assert desk.told() == []
    desk.log.handle_event(RootChanged(Root(KEY, 1), (1, 2)))
    assert desk.told() == [("info", "root changed", {"root": KEY.hex(), "coords": [1, 2]})]
    desk.log.handle_event(RootChanged(Root(KEY, 2), (1, 2)))
    assert desk.told() == []


def test_a_new_parent_is_told(desk: Desk) -> None:
    desk.log.handle_event(ParentChanged(KEY, 3))
    desk.log.handle_event(ParentChanged(None, None))
    assert desk.told() == [
        ("info", "parent changed", {"parent": KEY.hex(), "port": 3}),
        ("info", "parent changed", {"parent": None, "port": None}),
    ]


def test_nodes_seen_are_for_debugging(desk: Desk) -> None:
    desk.log.handle_event(NodeSeen(KEY))
    assert desk.lines == [("debug", "node seen", {"key": KEY.hex()})]


# ---------------------------------------------------------------- dials


def test_a_dial_that_failed_is_told_with_its_reason_and_the_next_try(desk: Desk) -> None:
    desk.log.dialled([dial()])
    fields = {"uri": URI, "reason": "nobody there", "retry_seconds": 1.3}
    assert desk.told() == [("warning", "cannot connect", fields)]


def test_the_same_failure_is_not_told_twice(desk: Desk) -> None:
    desk.log.dialled([dial()])
    desk.log.dialled([dial()])
    assert len(desk.told()) == 1


def test_later_failures_are_counted(desk: Desk) -> None:
    for attempts in range(1, 5):
        desk.log.dialled([dial(attempts=attempts)])
    desk.told()
    desk.now += WINDOW
    desk.log.dialled([dial(attempts=5)])
    [(_, _, fields)] = desk.told()
    assert fields["repeated"] == 3


def test_a_try_that_is_under_way_has_not_failed(desk: Desk) -> None:
    desk.log.dialled([dial(next_try_seconds=None)])
    assert desk.told() == []


def test_a_peering_that_ended_was_told_already(desk: Desk) -> None:
    desk.go_out(1)
    desk.log.handle_event(LinkDown(1, None, None, "closed"))
    desk.told()
    desk.log.dialled([dial(attempts=1)])
    assert desk.told() == []
    desk.log.dialled([dial(attempts=2)])
    assert [line[1] for line in desk.told()] == ["cannot connect"]


def test_a_peer_that_was_removed_is_forgotten(desk: Desk) -> None:
    desk.go_out(1)
    desk.log.dialled([])
    desk.log.dialled([dial()])
    assert len(desk.told()) == 1


# ---------------------------------------------------------------- sessions

ADDRESS = "fd00:102:304:506:708:90a:b0c:d0e"


def test_a_session_makes_a_line_when_it_begins_and_when_it_ends(desk: Desk) -> None:
    desk.log.handle_session_event(SessionUp(KEY, "AES_256_GCM", initiator=True))
    desk.log.handle_session_event(EchoAnswered(KEY, b"", 0.1))
    desk.log.handle_session_event(SessionDown(KEY, "not used for long"))
    known = {"address": ADDRESS, "key": KEY.hex()}
    assert desk.told() == [
        ("info", "session up", {**known, "cipher": "AES-256-GCM", "began": "this node"}),
        ("info", "session down", {**known, "reason": "not used for long"}),
    ]


def test_nobody_there_and_refused_handshakes_are_told(desk: Desk) -> None:
    desk.log.handle_session_event(DialFailed(address_of(KEY)))
    desk.log.handle_session_event(HandshakeRefused(OTHER_KEY, "bad tag"))
    assert desk.told() == [
        ("info", "no session: nobody answered", {"address": ADDRESS}),
        ("warning", "session handshake refused", {"claimed_key": OTHER_KEY.hex(), "reason": "bad tag"}),
    ]


def test_sessions_with_invented_keys_do_not_fill_the_log(desk: Desk) -> None:
    for number in range(1000):
        desk.log.handle_session_event(SessionUp(number.to_bytes(32), "AES_256_GCM", initiator=False))
    assert len(desk.told()) == 5
    desk.now = WINDOW
    desk.limiter.flush()
    assert [line[2]["repeated"] for line in desk.told()] == [995]


def test_a_bluetooth_adapter_that_comes_and_goes_is_told(desk: Desk) -> None:
    desk.log.ble_adapter(AdapterReport(AdapterState.READY, "hci0", "5C:F3:70:00:00:01"))
    desk.log.ble_adapter(AdapterReport(AdapterState.BLOCKED, "hci0", None, "a radio switch keeps it off"))
    desk.log.ble_failed("hci0", "cannot advertise: no slot is left")
    assert desk.told() == [
        ("info", "Bluetooth is on", {"adapter": "hci0", "address": "5C:F3:70:00:00:01"}),
        (
            "warning",
            "Bluetooth does not work for now",
            {"adapter": "hci0", "state": "blocked", "reason": "a radio switch keeps it off"},
        ),
        (
            "warning",
            "Bluetooth does not do what is wanted",
            {"adapter": "hci0", "reason": "cannot advertise: no slot is left"},
        ),
    ]


def test_devices_that_do_not_answer_get_few_lines_however_many_there_are(desk: Desk) -> None:
    for number in range(500):
        device = BleAddress(f"7A:00:00:00:00:{number % 256:02X}", AddressKind.RANDOM)
        desk.log.ble_step_failed(device, "no answer within 10 s")
    lines = desk.told()
    assert 1 <= len(lines) <= 5
    assert lines[0] == (
        "info",
        "cannot connect by Bluetooth",
        {"address": "7A:00:00:00:00:00", "reason": "no answer within 10 s"},
    )
