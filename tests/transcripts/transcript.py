# SPDX-License-Identifier: Apache-2.0
"""A transcript: what came in to a node and what it sent, connection by connection, with times.

On disk it is JSON with one event a line: milliseconds since the node started, `up`, `in`, `out` or `down`,
the number of the connection, and for `in` and `out` the bytes in hexadecimal.
"""

import json
from pathlib import Path
from typing import NamedTuple


class Event(NamedTuple):
    """One thing that happened on one connection."""

    milliseconds: int
    kind: str
    link: int
    data: bytes = b""


class Transcript(NamedTuple):
    """All that happened to one node; `seed` is its key's, `unix_ms` the wall clock when it started."""

    name: str
    about: str
    seed: bytes
    unix_ms: int
    events: list[Event]

    def to_json(self) -> str:
        """Write compactly, one event a line."""
        head = {"about": self.about, "seed": self.seed.hex(), "unix_ms": self.unix_ms}
        lines = [
            json.dumps([*event[:3], event.data.hex()] if event.data else [*event[:3]])
            for event in self.events
        ]
        body = ",\n".join(line.replace(", ", ",") for line in lines)
        return f'{json.dumps(head)[:-1]}, "events": [\n{body}\n]}}\n'

    def sent(self, link: int) -> bytes:
        """Everything the node sent on one connection."""
        return b"".join(event.data for event in self.events if event.kind == "out" and event.link == link)

    @property
    def links(self) -> list[int]:
        """Numbers of all connections."""
        return [event.link for event in self.events if event.kind == "up"]


def load(path: Path) -> Transcript:
    """Read a transcript."""
    content = json.loads(path.read_text())
    events = [
        Event(row[0], row[1], row[2], bytes.fromhex(row[3]) if len(row) > 3 else b"")
        for row in content["events"]
    ]
    return Transcript(path.stem, content["about"], bytes.fromhex(content["seed"]), content["unix_ms"], events)
