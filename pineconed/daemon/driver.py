# SPDX-License-Identifier: Apache-2.0
"""The one place where the node meets the operating system: descriptors, the clock and the loop's timer.

Every wake-up of the loop is one *turn*, in the order of this file:

    in      a peering's socket is readable     receive into the one shared buffer, node.receive
            the TUN device is readable         read until dry or 256 KiB, one node.outbound
            a socket is writable again         send the rest that it refused last time
            the node's deadline has come       node.handle_timer
    out     for each ready, writable link      node.take at most 16 KiB, one send; again until the queue is
                                               empty or the socket refuses
            packets for this host              node.take_local, one write each
            events                             CloseLink closes the stream now; all go to the subscribers
            node.deadline                      arm the timer

The clock is read once per turn. Sockets never block and are always read, whatever they owe us: a node that
stops reading is cut off by its peers (protocol section 2). What a socket refuses stays with its link, at most
one pull, and nothing more is taken for that link until it is writable: so queues grow only inside the node,
where they are fair, and a stalled peering costs the others nothing. A peering gets 256 KiB and 256 frames per
turn; what is left of them comes next turn, before anything newer is read.

`attach` and `detach` only note their wish and leave the sending and the events to a turn of their own, so
they may be called from a subscriber, and no event of a link comes before its number was returned.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeVar

import structlog

from pineconed.clock import Now
from pineconed.daemon.faults import Faults
from pineconed.daemon.stream_link import StreamLink
from pineconed.dataplane.forward import SendResult
from pineconed.node import Node
from pineconed.overlay.events import OverlayEvent
from pineconed.peering.admission import Admission
from pineconed.router.events import CloseLink, Event, LinkDown
from pineconed.router.peer import LinkOptions
from pineconed.transport.stream import Stream
from pineconed.transport.tcp import CLOSED_BY_PEER, plain_reason
from pineconed.tun.device import TunDevice
from pineconed.tun.drops import TunDrop
from pineconed.wire.buffer import Buffer

BUFFER_SIZE = 1024 * 1024
"""Bytes of the receive buffer that all streams share."""

READ_BUDGET = 256 * 1024
"""Bytes taken from one descriptor in one turn."""

TIMER_SLACK = 0.001
"""Seconds added to a deadline, because the loop's timers round to milliseconds and must not fire early."""

FAULT_PAUSE = 1.0
"""Seconds until the timer is tried again after the core failed in it."""

EventT = TypeVar("EventT")

_log = structlog.get_logger(__name__)


def _ignore(_reason: str) -> None:
    """Nobody asked to be told."""


class Driver:
    """Drives one node on one event loop; every method is called in that loop.

    `clock` reads CLOCK_BOOTTIME and Unix time. `faults` are the exceptions that came out of the node; one
    ends the link concerned, never the daemon.
    """

    def __init__(self, node: Node, clock: Callable[[], Now], loop: asyncio.AbstractEventLoop) -> None:
        self.faults = Faults()
        self._node = node
        self._clock = clock
        self._loop = loop
        self._links: dict[int, StreamLink] = {}
        self._device: TunDevice | None = None
        self._device_lost: Callable[[str], None] = _ignore
        self._device_drops: Counter[TunDrop] = Counter()
        self._without_device = 0
        self._subscribers: list[Callable[[Event], None]] = []
        self._session_subscribers: list[Callable[[OverlayEvent], None]] = []
        self._buffer = memoryview(bytearray(BUFFER_SIZE))
        self._window = self._buffer[:READ_BUDGET]
        self._failed: list[tuple[StreamLink, str]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._armed: float | None = None
        self._turn_due: asyncio.Handle | None = None

    # ---------------------------------------------------------------- what the daemon asks for

    def start(self) -> None:
        """Start the node and its timers."""
        self._node.start(self._clock())
        self._turn_soon()

    def close(self, reason: str) -> None:
        """Take leave of other nodes, close every stream, let go of the TUN device, report the last events.

        The device is closed by its owner.
        """
        now = self._clock()
        try:
            self._node.close_sessions(now)
        except Exception as fault:  # noqa: BLE001  (logged; the rest is closed all the same)
            self.faults.note(fault)
        self._finish(now)
        for number in list(self._links):
            self.detach(number, reason)
        self.detach_tun()
        if self._turn_due is not None:
            self._turn_due.cancel()
        self._turn()
        if self._timer is not None:
            self._timer.cancel()

    def attach(self, stream: Stream, options: LinkOptions) -> int:
        """Give a connected stream to the node, which greets the peer at once; the number of the new link."""
        number = self._node.add_link(options, self._clock())
        link = self._links[number] = StreamLink(number, stream)
        self._loop.add_reader(link.fd, self._on_readable, link)
        if stream.pending:
            self._loop.call_soon(self._on_readable, link)
        self._turn_soon()
        return number

    def detach(self, number: int, reason: str) -> None:
        """Close the stream of a link and tell the node; nothing happens when the link is gone already."""
        link = self._links.get(number)
        if link is not None:
            self._end(link, reason, self._clock())
            self._turn_soon()

    def stream_of(self, number: int) -> Stream | None:
        """The stream of a link, None when the link is gone."""
        link = self._links.get(number)
        return link.stream if link is not None else None

    def streams(self) -> list[tuple[int, Stream]]:
        """Every link with its stream."""
        return [(link.number, link.stream) for link in self._links.values()]

    def attach_tun(self, device: TunDevice, lost: Callable[[str], None] = _ignore) -> None:
        """Carry packets between this device and the node; `lost` is called once if the device goes away."""
        self._device, self._device_lost, self._device_drops = device, lost, device.drops
        self._loop.add_reader(device.fileno(), self._on_packets)

    def detach_tun(self) -> None:
        """Leave the device alone from now on; packets for this host are dropped and counted."""
        if self._device is not None:
            self._loop.remove_reader(self._device.fileno())
            self._device = None

    def drops(self) -> dict[str, int]:
        """Packets that got lost between the node and its host since the start, every cause named."""
        counted = {**self._device_drops, TunDrop.TUN_ABSENT: self._without_device}
        return {cause.value: counted.get(cause, 0) for cause in TunDrop}

    def subscribe(self, callback: Callable[[Event], None]) -> None:
        """Call this with every event of the node, in order, after the driver has acted on it."""
        self._subscribers.append(callback)

    def subscribe_sessions(self, callback: Callable[[OverlayEvent], None]) -> None:
        """Call this with everything that happens to the sessions of this host, in order."""
        self._session_subscribers.append(callback)

    def ping(self, prefix: bytes, data: bytes) -> SendResult | None:
        """Ask the node whose key begins so for `data` back; None without a session, which is then dialled."""
        self._turn_soon()
        return self._node.ping(prefix, data, self._clock())

    def admit_by(self, admission: Admission) -> None:
        """Let the node peer by these rules from now on; peerings that they do not admit are closed."""
        self._node.admit_by(admission, self._clock())
        self._turn_soon()

    # ---------------------------------------------------------------- in: a turn begins

    def _on_readable(self, link: StreamLink) -> None:
        if link.unread is not None or link.number not in self._links:
            return  # its rest comes first, in a turn that is already due
        now = self._clock()
        try:
            size = link.stream.recv_into(self._window)
        except BlockingIOError:
            return
        except OSError as error:
            self._failed.append((link, plain_reason(error)))
        else:
            if size:
                self._feed(link, self._buffer[:size], now)
            else:
                self._failed.append((link, CLOSED_BY_PEER))
        self._finish(now)

    def _on_rest(self, link: StreamLink) -> None:
        view, link.unread = link.unread, None
        if view is None or link.number not in self._links:
            return
        now = self._clock()
        self._feed(link, view, now)
        self._finish(now)

    def _feed(self, link: StreamLink, view: memoryview, now: Now) -> None:
        """Hand bytes to the node; keep what it leaves for the next turn, out of the shared buffer."""
        try:
            consumed = self._node.receive(link.number, view, now)
        except Exception as fault:  # noqa: BLE001  (logged; a bug may cost a peering, never the daemon)
            self._failed.append((link, self.faults.note(fault)))
            return
        if consumed < len(view):
            rest = view[consumed:]
            link.unread = memoryview(bytes(rest)) if view.obj is self._buffer.obj else rest
            self._loop.call_soon(self._on_rest, link)
        elif link.stream.pending:
            self._loop.call_soon(self._on_readable, link)

    def _on_packets(self) -> None:
        if self._device is None:
            return
        now = self._clock()
        try:
            packets = self._device.read_packets(READ_BUDGET)
        except OSError as error:
            self._lose_device(plain_reason(error))
            return
        if packets:
            try:
                self._node.outbound(packets, now)
            except Exception as fault:  # noqa: BLE001  (logged; these packets are lost)
                self.faults.note(fault)
            self._finish(now)

    def _on_writable(self, link: StreamLink) -> None:
        if link.number not in self._links:
            return
        now = self._clock()
        if link.unsent:
            self._push(link, link.unsent)
        else:
            link.blocked = False
        self._finish(now)
        if not link.blocked and link.watched:
            link.watched = False
            self._loop.remove_writer(link.fd)

    def _on_timer(self) -> None:
        now = self._clock()
        self._timer = self._armed = None
        pause = TIMER_SLACK
        try:
            self._node.handle_timer(now)
        except Exception as fault:  # noqa: BLE001  (logged; the timer is tried again later)
            self.faults.note(fault)
            pause = FAULT_PAUSE
        self._finish(now, pause)

    def _turn_soon(self) -> None:
        if self._turn_due is None:
            self._turn_due = self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        """A turn without input, after `attach` and `detach`."""
        self._turn_due = None
        self._finish(self._clock())

    # ---------------------------------------------------------------- out: a turn ends

    def _finish(self, now: Now, pause: float = TIMER_SLACK) -> None:
        """Bring out all that the node has to give; streams that fail meanwhile are ended, and so on again."""
        node, links = self._node, self._links
        while True:
            for number in node.take_ready():
                link = links.get(number)
                if link is not None and not link.blocked:
                    self._send(link, now)
            packets = node.take_local()
            if packets and self._device is not None:
                self._device.write(packets)
            else:
                self._without_device += len(packets)
            if not self._failed:
                break
            self._end_failed(now)
        events = node.events()
        if events:
            self._dispatch(events)
        for event in node.session_events():
            self._tell(self._session_subscribers, event)
        deadline = node.deadline()
        if deadline != self._armed:
            self._arm(deadline, now, pause)

    def _send(self, link: StreamLink, now: Now) -> None:
        """Pull and send until the link's queue is empty or its socket has enough."""
        take, has_room = self._node.take, link.stream.has_room
        while not link.blocked:
            if not has_room():
                self._wait_for_room(link)
                return
            try:
                buffers = take(link.number, link.pull, now)
            except Exception as fault:  # noqa: BLE001  (logged; ends this link)
                self._failed.append((link, self.faults.note(fault)))
                return
            if not buffers:
                return
            self._push(link, buffers)

    def _push(self, link: StreamLink, buffers: Sequence[Buffer]) -> None:
        """Send these buffers; a link whose socket does not take them all is blocked until it does."""
        try:
            link.push(buffers)
        except OSError as error:
            link.blocked = True
            self._failed.append((link, plain_reason(error)))
            return
        if link.unsent:
            self._wait_for_room(link)
        else:
            link.blocked = False

    def _wait_for_room(self, link: StreamLink) -> None:
        link.blocked = True
        if not link.watched:
            link.watched = True
            self._loop.add_writer(link.fd, self._on_writable, link)

    def _arm(self, deadline: float, now: Now, pause: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._armed = deadline
        wait = max(deadline - now.seconds + TIMER_SLACK, pause)
        self._timer = self._loop.call_at(self._loop.time() + wait, self._on_timer)

    def _dispatch(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, CloseLink):
                link = self._links.pop(event.link, None)
                if link is not None:
                    self._close(link)
            self._tell(self._subscribers, event)

    def _tell(self, subscribers: list[Callable[[EventT], None]], event: EventT) -> None:
        for callback in subscribers:
            try:
                callback(event)
            except Exception as fault:  # noqa: BLE001  (logged; the other subscribers still hear of it)
                self.faults.note(fault)

    # ---------------------------------------------------------------- ends and faults

    def _end_failed(self, now: Now) -> None:
        failed, self._failed = self._failed, []
        for link, reason in failed:
            if link.number in self._links:
                self._end(link, reason, now)

    def _end(self, link: StreamLink, reason: str, now: Now) -> None:
        del self._links[link.number]
        self._close(link)
        try:
            self._node.remove_link(link.number, reason, now)
        except Exception as fault:  # noqa: BLE001  (logged; whoever dialled must still hear of the end)
            self.faults.note(fault)
            down: list[Event] = [LinkDown(link.number, None, None, reason)]
            self._loop.call_soon(self._dispatch, down)

    def _close(self, link: StreamLink) -> None:
        """Close a stream whose link has left the table; nothing of it is used after this."""
        self._loop.remove_reader(link.fd)
        if link.watched:
            self._loop.remove_writer(link.fd)
        link.watched, link.blocked, link.unread, link.unsent = False, True, None, []
        try:
            link.stream.close()
        except Exception as fault:  # noqa: BLE001  (logged; the node must still hear of the end)
            self.faults.note(fault)

    def _lose_device(self, reason: str) -> None:
        _log.error("the TUN device is gone: no packets to and from this host", reason=reason)
        self.detach_tun()
        self._device_lost(reason)
