# SPDX-License-Identifier: Apache-2.0
"""Whether the overlay reaches the services of this machine: looked at when asked, but not all the time."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

InboundState = Literal["filtered", "open", "unknown"]

FRESH_SECONDS = 3.0
"""How long an answer is given again before the next look."""

LOOK_SECONDS = 1.0
"""How long a look may take; it usually takes some milliseconds."""


@dataclass(frozen=True, slots=True)
class Inbound:
    """What becomes of traffic that comes in from the overlay, and in words why, and what to do about it."""

    state: InboundState
    explanation: str


class InboundWatch:
    """Answers whether traffic that comes in by an interface is filtered.

    `look` blocks and so runs in a thread; there is one look at a time, however many ask.
    """

    def __init__(self, interface: str, look: Callable[[str], Inbound]) -> None:
        self._interface = interface
        self._look = look
        self._looking: asyncio.Future[Inbound] | None = None
        self._begun = 0.0

    async def inbound(self) -> Inbound:
        """As it is now, or was at most three seconds ago. Never raises, and never takes over a second."""
        now = asyncio.get_running_loop().time()
        if self._looking is None or (self._looking.done() and now - self._begun >= FRESH_SECONDS):
            self._looking = asyncio.ensure_future(asyncio.to_thread(self._look, self._interface))
            self._begun = now
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                return await asyncio.shield(self._looking)
        except TimeoutError:
            return Inbound("unknown", f"the kernel has not told its firewall rules in {LOOK_SECONDS:g} s")
        except Exception as fault:  # noqa: BLE001  (shown; whoever asks for the status gets all the rest)
            message = "a look at the firewall rules failed"
            asyncio.get_running_loop().call_exception_handler({"message": message, "exception": fault})
            return Inbound("unknown", f"internal fault: {type(fault).__name__}")
