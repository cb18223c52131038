# SPDX-License-Identifier: Apache-2.0
"""What is asked of a Bluetooth stack: to show a value, to see others and read theirs, and to have channels.

Whoever uses a backend (the runner) has one decision-maker above it, so a backend decides nothing: no retries,
no time-outs beyond those of the stack below, no memory of who was seen. It does follow its adapter, though:

    report(MISSING)  the adapter is waited for
    report(READY)    -> listen, advertise, scan, in this order, as far as they are wanted
    report(OFF)      all of this is over, by itself; channels end; the adapter is waited for
    report(READY)    -> from the beginning

All calls and callbacks are made in one event loop, and no callback waits or raises. Coroutines may be
cancelled at any moment (that is how the time limit of a step is kept) and then leave nothing half open.
All errors are `BleError`.
"""

import socket
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol

from pineconed.transport.ble.address import BleAddress


class BleError(OSError):
    """A step failed. The text says what and why in one sentence, fit for a log line and an operator."""


class AdapterState(StrEnum):
    """What can be done with the adapter now. All but READY are waited out; none ends the daemon."""

    READY = "ready"
    """Powered, and free for us."""

    MISSING = "missing"
    """There is no such adapter, or it was unplugged."""

    OFF = "off"
    """It is there and powered off. A backend never powers it on: that is the operator's choice."""

    BLOCKED = "blocked"
    """It is there and a radio switch (rfkill) keeps it off."""

    NO_SERVICE = "no-service"
    """What the backend speaks through does not run: the system's D-Bus, or bluetoothd."""

    FAILED = "failed"
    """Anything else, such as missing rights; `detail` tells."""


@dataclass(frozen=True, slots=True)
class AdapterReport:
    """The adapter at one moment.

    name: as the stack calls it (`hci0`), or as it is configured while there is none; address: its own, None
    if not known. detail: one short sentence for an operator on why it is not ready ("bluetoothd does not
    run"), with what to do about it where that is known ("rfkill unblock bluetooth"); empty when READY.
    """

    state: AdapterState
    name: str
    address: str | None = None
    detail: str = ""


class Sighting(NamedTuple):
    """An advertisement with `SERVICE_UUID` was received.

    rssi: signal strength in dBm, None if the stack does not tell.
    """

    address: BleAddress
    rssi: int | None


@dataclass(frozen=True, slots=True)
class Channel:
    """An open L2CAP LE credit-based channel, as a byte stream.

    socket: owned by whoever holds the channel; non-blocking, connected, SOCK_STREAM. It is the kernel's own
    L2CAP socket, or the near end of a pair that the backend pumps. Closing it closes the channel, and, if
    this was the last one, the connection below. When the channel ends otherwise, for whatever reason (the
    other side, the radio, the adapter), it reads as end of stream or fails with an OSError, at once.
    The socket must be writable (POLLOUT) only while little is unsent, some 4 KiB: set SO_SNDBUF accordingly,
    because what waits in there cannot be overtaken by what is urgent.

    max_write: the most bytes that one `send` may have; more fails with EMSGSIZE. 0 for any number.
    mtu_in, mtu_out: SDU sizes of both directions, None if not known; shown to operators only.
    remote: the other device, as this connection names it, which need not be the address of a sighting.
    psm: the one on which the channel was taken.
    overrun: whether the backend ended it because more came than was taken; for stacks that cannot hold
    back the other side.
    """

    socket: socket.socket
    remote: BleAddress
    psm: int
    max_write: int = 0
    mtu_in: int | None = None
    mtu_out: int | None = None
    overrun: Callable[[], bool] = lambda: False


class Backend(Protocol):
    """One adapter, made from the text of the setting `ble.adapter`.

    `BluezBackend` (module `bluez`) takes an empty text for the default adapter, `hciN`, or an adapter's own
    address; `BumbleBackend` (module `bumble`) a transport of Bumble such as `usb:0`. Methods other than
    `start` and `close` are called only while the last report was READY; when they are called too late all
    the same, they raise `BleError`.
    """

    def start(self, report: Callable[[AdapterReport], None]) -> None:
        """Begin to follow the adapter; called once.

        `report` gets every change (and the first state within 2 s), never the same report twice in a row.
        Leaving READY ends what `listen`, `advertise` and `scan` began, and all channels; coming back to READY
        begins with nothing. A restart of the Bluetooth service between two looks counts as leaving, so it is
        reported as such. Where nothing tells of a change, a backend looks every 2 s at the longest.
        """
        ...

    async def close(self) -> None:
        """Stop everything, leave the adapter as it was found, report nothing more. Never raises.

        Channels that were handed over are the holder's and live on as far as the stack lets them.
        """
        ...

    async def listen(self, accept: Callable[[Channel], None]) -> int:
        """Take channels without pairing or encryption on a dynamic PSM (0x80 to 0xFF), which is returned.

        `accept` gets each of them at once, without asking who it is. It goes on until READY is left.
        """
        ...

    async def advertise(self, value: bytes) -> None:
        """Let others see this node and read `value` (20 bytes, `value.py`) from now on.

        It returns when the service is registered and the advertisement is on the air: connectable,
        `SERVICE_UUID` only, no name. From then on the backend itself sees to it that it stays (stacks stop
        it when somebody connects); if that fails for good, `advertising` turns false.
        Called again, it replaces the value.
        """
        ...

    async def stop_advertising(self) -> None:
        """Be seen no longer, and withdraw the service. Nothing happens if it is not."""
        ...

    async def scan(self, seen: Callable[[Sighting], None]) -> None:
        """Look for advertisements with `SERVICE_UUID` from now on.

        `seen` may be called any number of times, also for the same device; a stack that can tell of every
        advertisement should. A device in reach has to be reported again at least every 3 s for as long as it
        advertises: it is only connected if it was seen lately, and since the last try. Devices that the
        stack remembers from earlier, and that it does not hear now, are no sightings. A backend pauses and
        resumes by itself where `read` and `dial` need that.
        """
        ...

    async def stop_scanning(self) -> None:
        """Look no longer. Nothing happens if it does not."""
        ...

    async def read(self, address: BleAddress) -> bytes:
        """Connect to a device that was sighted and read the characteristic, of any length.

        The connection stays for a `dial` or `release`, one of which follows for each successful `read`.
        After an error, or if cancelled, it does not stay. One `read`, `dial` or `release` is made at a time.
        """
        ...

    async def dial(self, address: BleAddress, psm: int) -> Channel:
        """Open a channel to a device, without pairing or encryption; `psm` is what it claims, 1 to 65535.

        What `read` left open is used, and then belongs to the channel: it is closed with it, or at once when
        this fails.
        """
        ...

    async def release(self, address: BleAddress) -> None:
        """Close the connection that `read` left open, unless a channel to or from this device uses it.

        So a node that we only read may, on the same connection, dial us at the same time. Never raises.
        """
        ...

    @property
    def advertising(self) -> bool:
        """Whether others can see this node now."""
        ...

    @property
    def scanning(self) -> bool:
        """Whether this node looks for others; a pause during `read` and `dial` counts as looking."""
        ...
