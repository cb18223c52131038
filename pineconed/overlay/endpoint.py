# SPDX-License-Identifier: Apache-2.0
"""This host's traffic: IPv6 packets from the TUN device into sessions, and from sessions to the TUN device.

The flow out (`outbound`): what one drain of the device holds for one peer and one flow becomes a batch; a
batch is one DATA of the newest session with the peer, and the forwarder queues it. Without a session the
packets wait until one is dialled. What cannot be sent is answered with an ICMPv6 error, as a router would.

The flow in (`inbound`): a frame's payload goes by its first byte to the sessions, or is a bare packet of a
reference node that the operator listed. Only packets to our own address come out, from the address of the
node that proved itself or, in the clear, is named as the source. `take_local` hands them to the TUN device.
"""

from collections.abc import Collection, Sequence
from enum import StrEnum

from pineconed.clock import Now
from pineconed.dataplane.forward import Forwarder, SendResult
from pineconed.overlay.address import OVERLAY_BYTE, address_of
from pineconed.overlay.bare import BarePeers, bare_key
from pineconed.overlay.batch import Batch
from pineconed.overlay.errors import ErrorAnswers
from pineconed.overlay.events import OverlayEvent
from pineconed.overlay.flow import WITH_PORTS, FlowHash
from pineconed.overlay.icmpv6 import IPV6_HEADER_LENGTH
from pineconed.overlay.partial import MIN_LENGTHS, PARTIAL, complete
from pineconed.overlay.session.drops import SessionDrop
from pineconed.overlay.session.message import DATA_OVERHEAD, LAST_MESSAGE_BYTE
from pineconed.overlay.session.party import Party
from pineconed.overlay.session.plaintext import MAX_BATCH, MAX_BLUETOOTH_BATCH, Delivery, read_batch
from pineconed.overlay.session.segmentation import cut
from pineconed.overlay.session.session import Session
from pineconed.overlay.session.sessions import Sessions
from pineconed.overlay.session.super_packet import SuperPacket, check_super_packet, encode_super_packet
from pineconed.overlay.session.waiting import Outgoing
from pineconed.overlay.session_page import session_page, session_snapshot
from pineconed.overlay.snapshots import SessionPage, SessionSnapshot
from pineconed.wire.buffer import Buffer
from pineconed.wire.errors import CodecError
from pineconed.wire.keys import KEY_PREFIX_LENGTH

BLUETOOTH = 4
"""The peer type whose links are so slow that batches are kept short."""

_MULTICAST_BYTE = 0xFF
_FIRST_QUIC_BYTE = 0x40


class EndpointDrop(StrEnum):
    """Why a packet of this host was not sent; the value is the name that operators see."""

    OUT_MALFORMED = "out_malformed"
    """From the TUN device: not IPv6, or not as long as its header says."""
    OUT_FOREIGN_SOURCE = "out_foreign_source"
    """The source is not our address."""
    OUT_MULTICAST = "out_multicast"
    OUT_NOT_OVERLAY = "out_not_overlay"
    """The destination is outside fd00::/8."""
    OUT_TO_SELF = "out_to_self"
    """The destination is our own address, which the kernel should have kept to itself."""
    OUT_NO_ROUTE = "out_no_route"
    OUT_TOO_BIG = "out_too_big"


class Endpoint:
    """One end of the traffic.

    `flow_key` is secret and random. `bare_ipv6` lists the nodes, by key or address, that are reached in the
    clear.
    """

    def __init__(
        self, party: Party, forwarder: Forwarder, flow_key: bytes, bare_ipv6: Collection[bytes] = ()
    ) -> None:
        self._flows = FlowHash(flow_key)
        self.sessions = Sessions(party, forwarder, self._flows)
        self._address = address_of(party.identity.public_key)
        self._mtu = party.offer.mtu
        self._forwarder = forwarder
        self._bare = BarePeers(bare_ipv6)
        self._context = self.sessions.context
        self._errors = ErrorAnswers(self._address)
        self._drops = dict.fromkeys(EndpointDrop, 0)

    # Inputs

    def outbound(self, packets: Sequence[Outgoing], now: Now) -> None:
        """Send what the TUN device gave, in order. A packet that cannot be sent is dropped and counted.

        The packets are not copied: they must not change afterwards.
        """
        self._send_all(packets, now.seconds)
        self._take_outputs(now.seconds)

    def inbound(self, source_key: bytes, source_coords: bytes, payload: Buffer, port: int, now: Now) -> None:
        """Take the payload of a frame for this host that came by the peering at `port`; it is not copied.

        Source key and coords, encoded as in the frame, are what its header claims.
        """
        first = payload[0] if len(payload) else 0
        if 0 < first <= LAST_MESSAGE_BYTE:
            self.sessions.inbound(source_key, source_coords, payload, port, now.seconds)
            if self._context.released or self._context.unreachable:
                self._take_outputs(now.seconds)
        elif first >> 4 == 6 and _fits(payload):
            self._receive_bare(source_key, payload, now.seconds)
        else:
            quic = first >= _FIRST_QUIC_BYTE
            self._context.drop(SessionDrop.PAYLOAD_QUIC if quic else SessionDrop.PAYLOAD_UNKNOWN)

    def handle_timer(self, now: Now) -> None:
        """Do all that is due."""
        self.sessions.handle_timer(now.seconds)
        self._take_outputs(now.seconds)

    # Outputs

    def take_local(self) -> list[Delivery]:
        """What the TUN device gets; bare packets are views into what was received."""
        local, self._context.delivered = self._context.delivered, []
        return local

    def events(self) -> list[OverlayEvent]:
        """What happened to the sessions since the last call, in order."""
        events = list(self._context.events)
        self._context.events.clear()
        return events

    def deadline(self) -> float:
        """When `handle_timer` is due at the latest, in seconds; infinity if never."""
        return self.sessions.deadline()

    def drops(self) -> dict[str, int]:
        """What was dropped since the start, every cause named."""
        return {cause.value: n for cause, n in [*self._drops.items(), *self._context.drops.counts.items()]}

    def session_page(self, now: Now, after: bytes | None, limit: int) -> SessionPage:
        """Peers with a session, dialled or in the clear: at most `limit` with addresses above `after`."""
        return session_page(self.sessions, self._bare, now.seconds, after, limit)

    def session(self, prefix: bytes, now: Now) -> SessionSnapshot | None:
        """The peer whose key begins so, None if there is no such."""
        return session_snapshot(self.sessions, self._bare, prefix, now.seconds)

    # Out: the per-packet path

    def _send_all(self, packets: Sequence[Outgoing], now: float) -> None:
        """Sort packets into batches and send those.

        Per-packet path. Everything that decides about a packet but its length is told by the bytes that tell
        its flow, addresses included: so it is decided once a batch.
        """
        batches: dict[bytes, Batch] = {}
        for packet in packets:
            if packet.__class__ is not bytes:
                self._send_super_packet(packet, batches, now)  # type: ignore[arg-type]  # the only other class
                continue
            length = len(packet)
            if (
                length < IPV6_HEADER_LENGTH
                or packet[0] >> 5 != 3  # version 6, or the 7 of a partial one
                or length - IPV6_HEADER_LENGTH != packet[4] << 8 | packet[5]
                or (packet[0] >= PARTIAL and length < MIN_LENGTHS[packet[6]])
            ):
                self._drops[EndpointDrop.OUT_MALFORMED] += 1
                continue
            identity = packet[6:44] if packet[6] in WITH_PORTS else packet[6:40]
            batch = batches.get(identity)
            if batch is None:
                batch = self._begin_batch(packet, packet, identity, now)
                if batch is None:
                    continue
                batches[identity] = batch
            if length > batch.largest:
                self._answer_too_big(packet, batch.largest, now)
                continue
            size = batch.size + length
            if size > batch.limit and batch.packets:
                self._send_batch(batch, now)
                size = length
            batch.packets.append(packet if packet[0] < PARTIAL or batch.partial else complete(packet))
            batch.size = size
        for batch in batches.values():
            self._send_batch(batch, now)

    def _begin_batch(self, packet: bytes, whole: Outgoing, identity: bytes, now: float) -> Batch | None:
        """A batch for the flow of a packet with these headers; without one, `whole` is dealt with."""
        session = self._session_for(packet, whole, now)
        if session is None:
            return None
        coords = self._context.known.coords(session.prefix, now)
        hop_type = self._forwarder.first_hop_type(session.peer_key, coords, now)
        if hop_type is None:
            self._answer_no_route(packet, now)
            return None
        limit = MAX_BLUETOOTH_BATCH if hop_type == BLUETOOTH else MAX_BATCH
        flow = self._flows.of_identity(identity)
        return Batch(session, coords, flow, limit, min(self._mtu, session.mtu))

    def _send_batch(self, batch: Batch, now: float) -> None:
        """Encrypt and queue what a batch holds; it is empty afterwards."""
        packets = batch.packets
        if not packets:
            return
        batch.packets = []
        plaintext = packets[0] if len(packets) == 1 else b"".join(packets)
        result = self._send_plaintext(batch, plaintext, now)
        if result is SendResult.QUEUED:
            self._context.note_sent(batch.session, len(packets), len(plaintext), now)
            return
        for packet in packets:
            self._answer(packet, result, now)

    def _send_plaintext(self, batch: Batch, plaintext: bytes, now: float) -> SendResult:
        session, forwarder = batch.session, self._forwarder
        message = session.seal(plaintext, forwarder.source_coords, now)
        flow, extra = batch.flow
        return forwarder.send(session.peer_key, batch.coords, message, flow, extra, now)

    # Out: everything else

    def _send_super_packet(self, packet: SuperPacket, batches: dict[bytes, Batch], now: float) -> None:
        """Send it whole if the peer takes it so, else in packets; what came before in its flow goes first."""
        data = packet.packet
        identity = data[6:44]
        batch = batches.pop(identity, None)
        if batch is not None:
            self._send_batch(batch, now)
        batch = self._begin_batch(data, packet, identity, now)
        if batch is None:
            return
        if packet.header_length + packet.segment_size > batch.largest:
            self._answer_too_big(data, batch.largest, now)
        elif not batch.session.features & packet.kind or batch.limit < len(data) or not _is_sound(packet):
            self._send_all(cut(packet), now)
        else:
            result = self._send_plaintext(batch, encode_super_packet(packet), now)
            if result is SendResult.QUEUED:
                self._context.note_sent(batch.session, 1, len(data), now)
            else:
                self._answer(data, result, now)

    def _session_for(self, packet: bytes, whole: Outgoing, now: float) -> Session | None:
        """The session for a packet with these headers; without one, `whole` is dealt with."""
        prefix = packet[25:40]
        own_prefix = self._address[1:]
        if packet[24] != OVERLAY_BYTE or packet[8:24] != self._address or prefix == own_prefix:
            self._refuse(packet, now)
            return None
        session = self.sessions.newest.get(prefix)
        if session is not None and now < session.expires_at:
            return session
        if prefix in self._bare.listed:
            for bare in cut(whole) if isinstance(whole, SuperPacket) else [whole]:
                self._send_bare(prefix, bare, now)
        else:
            self._dial(prefix, whole, now)
        return None

    def _dial(self, prefix: bytes, packet: Outgoing, now: float) -> None:
        """Have a packet wait for a session, if there is any way to where it goes."""
        if self.sessions.has_way(prefix, now):
            self.sessions.dial(prefix, packet, now)
        else:
            self._answer_no_route(_headers(packet), now)

    def _send_bare(self, prefix: bytes, packet: bytes, now: float) -> None:
        if packet[0] >= PARTIAL:
            packet = complete(packet)
        if len(packet) > self._mtu:
            self._answer_too_big(packet, self._mtu, now)
            return
        flow, extra = self._flows.of(packet)
        result = self._forwarder.send(bare_key(prefix), None, packet, flow, extra, now)
        if result is SendResult.QUEUED:
            self._bare.tally(prefix).note_sent(1, len(packet), now)
        else:
            self._answer(packet, result, now)

    def _take_outputs(self, now: float) -> None:
        """Send what sessions that came up have released, and answer what got none."""
        context = self._context
        while context.released:
            released, context.released = context.released, []
            self._send_all(released, now)
        for packet in context.unreachable:
            self._give_back(self._errors.address_unreachable(_headers(packet), now))
        context.unreachable.clear()

    # In

    def _receive_bare(self, source_key: bytes, payload: Buffer, now: float) -> None:
        prefix = source_key[:KEY_PREFIX_LENGTH]
        if prefix not in self._bare.listed:
            self._context.drop(SessionDrop.BARE_NOT_LISTED)
            return
        addresses = address_of(source_key) + self._address
        flaw = read_batch(payload, addresses, self._context.delivered)
        if flaw is not None:
            self._context.drop(flaw)
        else:
            tally = self._bare.tally(prefix)
            tally.last_heard = now
            tally.note_received(1, len(payload), now)

    # Packets that are not sent

    def _refuse(self, packet: bytes, now: float) -> None:
        """A packet that is not from us to another node of the overlay."""
        if packet[24] == _MULTICAST_BYTE:
            self._drops[EndpointDrop.OUT_MULTICAST] += 1
        elif packet[8:24] != self._address:
            self._drops[EndpointDrop.OUT_FOREIGN_SOURCE] += 1
        elif packet[24] != OVERLAY_BYTE:
            self._drops[EndpointDrop.OUT_NOT_OVERLAY] += 1
            self._give_back(self._errors.no_route(packet, now))
        else:
            self._drops[EndpointDrop.OUT_TO_SELF] += 1

    def _answer(self, packet: bytes, result: SendResult, now: float) -> None:
        """The forwarder did not take a packet."""
        if result is SendResult.TOO_BIG:
            self._answer_too_big(packet, self._mtu, now)
        else:
            self._answer_no_route(packet, now)

    def _answer_no_route(self, packet: bytes, now: float) -> None:
        self._drops[EndpointDrop.OUT_NO_ROUTE] += 1
        self._give_back(self._errors.no_route(packet, now))

    def _answer_too_big(self, packet: bytes, mtu: int, now: float) -> None:
        self._drops[EndpointDrop.OUT_TOO_BIG] += 1
        limit = min(mtu, self._forwarder.payload_limit() - DATA_OVERHEAD)
        self._give_back(self._errors.too_big(packet, limit, now))

    def _give_back(self, error: bytes | None) -> None:
        if error is not None:
            self._context.delivered.append(error)


def _fits(packet: Buffer) -> bool:
    """Whether these are exactly the bytes of an IPv6 packet, going by its length."""
    length = len(packet) - IPV6_HEADER_LENGTH
    return length >= 0 and length == packet[4] << 8 | packet[5]


def _is_sound(packet: SuperPacket) -> bool:
    """Whether a peer takes it. Kernels make others, too, of very short segments or with rare TCP flags."""
    try:
        check_super_packet(packet)
    except CodecError:
        return False
    return True


def _headers(packet: Outgoing) -> bytes:
    return packet.packet if isinstance(packet, SuperPacket) else packet
