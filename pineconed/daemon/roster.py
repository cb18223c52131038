# SPDX-License-Identifier: Apache-2.0
"""Which peers are dialled, and where each of them was configured.

One peer may stand in several places. The first that names it decides on its options and is shown: the
configuration file or the flag in its place, the saved peers, then those that pineconectl added for now. One
of the file that the operator removed is passed over, until the daemon starts again or the file says something
else of it.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from pineconed.daemon.saved_peers import write_saved
from pineconed.transport.authority import UriError
from pineconed.transport.dialer import Dialer, DialSnapshot
from pineconed.transport.uri import PeerUri, parse_peer_uri

Listed = dict[str, PeerUri]

REMOVED = "it is no longer in the configuration"


class _Wanted(NamedTuple):
    """A peer to dial, and where it was configured."""

    uri: PeerUri
    source: str


class Difference(NamedTuple):
    """The names of peers dialled no more, and of those dialled from now on; new options put one in both."""

    ended: tuple[str, ...]
    begun: tuple[str, ...]


class Roster:
    """The configured peers of a daemon, as the admin API sees and changes them.

    `hang_up` closes a link; it is called for those whose peer is configured no more, or differently.
    `busy` is held while the file of the saved peers is written; who reads it for `configure` holds it too.
    """

    def __init__(
        self,
        dialer: Dialer,
        hang_up: Callable[[int, str], None],
        saved_file: Path,
        source: Literal["file", "flag"],
    ) -> None:
        self._dialer = dialer
        self._hang_up = hang_up
        self._saved_file = saved_file
        self._source = source
        self._configured: Listed = {}
        self._saved: Listed = {}
        self._added: Listed = {}
        self._removed: set[str] = set()
        self._dialled: dict[str, _Wanted] = {}
        self.busy = asyncio.Lock()

    # ---------------------------------------------------------------- what the files say

    def configure(self, connect: Iterable[str], saved: Iterable[str]) -> Difference:
        """Dial what the configuration and the saved peers name now; what neither names any more is ended."""
        dialled, before = dict(self._dialled), self._configured
        self._configured, self._saved = _listed(connect), _listed(saved)
        self._removed = {name for name in self._removed if self._configured.get(name) == before.get(name)}
        for name in list(self._dialled | self._configured | self._saved):
            self._settle(name, REMOVED)
        return Difference(_missing(dialled, self._dialled), _missing(self._dialled, dialled))

    # ---------------------------------------------------------------- what pineconectl does

    def peers(self) -> Sequence[DialSnapshot]:
        """All configured peers."""
        return self._dialer.peers()

    async def add(self, uri: str, source: str) -> str | None:
        """Dial a peer from now on; its name, or None if it is there already. UriError for no URI.

        With the source `saved` also after the next start, and one that was added only for now is kept then.
        SaveError when it cannot be written down; then it is not dialled either.
        """
        parsed = parse_peer_uri(uri)
        async with self.busy:
            held = self._dialled.get(parsed.name)
            if source == "saved" and (held is None or held.source == "api"):
                await self._save(self._saved | {parsed.name: parsed})
            elif held is None:
                self._added[parsed.name] = parsed
            else:
                return None
            self._settle(parsed.name, "its options have changed")
            return parsed.name

    async def remove(self, uri: str) -> DialSnapshot | None:
        """Dial it no longer, but leave its link alone; the peer as it was, None if it is not in the list.

        A saved one is taken out of the file; SaveError when that cannot be, and then it stays.
        """
        try:
            name = parse_peer_uri(uri).name
        except UriError:
            return None
        async with self.busy:
            if name not in self._dialled:
                return None
            if name in self._saved:
                await self._save({each: saved for each, saved in self._saved.items() if each != name})
            self._added.pop(name, None)
            if name in self._configured:
                self._removed.add(name)
            return self._drop(name)

    async def _save(self, saved: Listed) -> None:
        """Write the file in a thread: a slow disk must not hold up the packets."""
        await asyncio.to_thread(write_saved, self._saved_file, [uri.text for uri in saved.values()])
        self._saved = saved

    # ---------------------------------------------------------------- what follows from it

    def _wanted(self, name: str) -> _Wanted | None:
        if name in self._configured and name not in self._removed:
            return _Wanted(self._configured[name], self._source)
        if name in self._saved:
            return _Wanted(self._saved[name], "saved")
        return _Wanted(self._added[name], "api") if name in self._added else None

    def _settle(self, name: str, reason: str) -> None:
        """Have the dialler do what is wanted of this peer now."""
        wanted, held = self._wanted(name), self._dialled.get(name)
        if held is not None and (wanted is None or wanted.uri != held.uri):
            self._end(name, reason)
            held = None
        if wanted is None:
            return
        self._dialled[name] = wanted
        if held is None:
            self._dialer.add(wanted.uri, wanted.source)
        else:
            self._dialer.relabel(name, wanted.source)

    def _end(self, name: str, reason: str) -> None:
        link = self._drop(name).link
        if link is not None:
            self._hang_up(link, reason)

    def _drop(self, name: str) -> DialSnapshot:
        """Dial a peer no longer; the peer as it was."""
        gone = next(peer for peer in self._dialer.peers() if peer.uri == name)
        del self._dialled[name]
        self._dialer.remove(name)
        return gone


def _listed(uris: Iterable[str]) -> Listed:
    return {parsed.name: parsed for parsed in map(parse_peer_uri, uris)}


def _missing(these: dict[str, _Wanted], those: dict[str, _Wanted]) -> tuple[str, ...]:
    """The names of `these` that are not, or not so, among `those`."""
    return tuple(name for name, each in these.items() if name not in those or those[name].uri != each.uri)
