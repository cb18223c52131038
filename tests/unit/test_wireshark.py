# SPDX-License-Identifier: Apache-2.0
"""The dissector for Wireshark reads the same as our own codecs, in captures made of recorded peerings."""

import os
import subprocess
from collections.abc import Iterator
from ipaddress import IPv6Address
from pathlib import Path

import pytest

from pineconed.overlay.address import address_of
from pineconed.wire.coordinates import Coords
from pineconed.wire.frame import (
    HEADER_LENGTH,
    BootstrapFrame,
    Frame,
    Keepalive,
    TrafficFrame,
    TreeAnnouncementFrame,
    UnknownFrame,
    WakeupBroadcastFrame,
    decode_frame,
    encode_frame,
)
from pineconed.wire.handshake import HANDSHAKE_LENGTH
from pineconed.wire.signed_payload import decode_payload
from pineconed.wire.watermark import FULL, Watermark
from tests.tools import require_tool
from tests.transcripts.transcript import Transcript, load
from tests.unit.capture import Capture, Connection

ROOT = Path(__file__).parents[2]
DISSECTOR = ROOT / "contrib" / "wireshark" / "pinecone.lua"
TRANSCRIPTS = sorted((ROOT / "tests" / "transcripts").glob("*.json"))
KEYS = bytes(range(32)), bytes(range(100, 132))


def tshark(capture: Capture, folder: Path, *fields: str, wanted: str = "pinecone") -> list[list[str]]:
    """The values of these fields in each packet that `wanted` picks."""
    require_tool("tshark")
    path = folder / "capture.pcap"
    capture.save(path)
    argv = ["tshark", "-n", "-r", str(path), "-X", f"lua_script:{DISSECTOR}", "-Y", wanted, "-T", "fields"]
    argv += [word for name in fields for word in ("-e", name)]
    environment = {"HOME": str(folder), "PATH": os.environ["PATH"]}
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60, env=environment)
    assert "Lua" not in done.stdout + done.stderr
    return [line.split("\t") for line in done.stdout.splitlines()]


def column(rows: list[list[str]], index: int = 0) -> list[str]:
    """All values of one field, in order; one packet may have several."""
    return [value for row in rows for value in row[index].split(",") if value]


def recorded(transcript: Transcript) -> Capture:
    capture = Capture()
    connections = {}
    for event in transcript.events:
        if event.kind == "up":
            connections[event.link] = Connection(capture, 50_000 + event.link)
        elif event.kind in {"in", "out"}:
            connections[event.link].send(event.kind == "out", event.data)
    return capture


def frames_of(stream: bytes) -> Iterator[Frame]:
    while stream:
        length = int.from_bytes(stream[8:10])
        yield decode_frame(stream[:length])
        stream = stream[length:]


def streams(transcript: Transcript) -> Iterator[bytes]:
    """What went each way on each connection."""
    for link in transcript.links:
        for kind in ("in", "out"):
            yield b"".join(
                event.data for event in transcript.events if (event.link, event.kind) == (link, kind)
            )


def type_of(frame: Frame) -> int:
    return encode_frame(frame)[5]


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_recorded_peerings_read_as_by_our_codecs(path: Path, tmp_path: Path) -> None:
    transcript = load(path)
    both = [stream for stream in streams(transcript) if stream]
    frames = [frame for stream in both for frame in frames_of(stream[HANDSHAKE_LENGTH:])]
    rows = tshark(
        recorded(transcript),
        tmp_path,
        "pinecone.type",
        "pinecone.handshake.version",
        "pinecone.sequence",
        "pinecone.destination",
        "pinecone.watermark.sequence",
        "_ws.malformed",
        "pinecone.malformed",
        "pinecone.foreign",
    )
    assert sorted(column(rows, 0)) == sorted(str(type_of(frame)) for frame in frames)
    assert column(rows, 1) == ["1"] * len(both)
    signed = [frame for frame in frames if isinstance(frame, BootstrapFrame | WakeupBroadcastFrame)]
    assert sorted(column(rows, 2)) == sorted(str(decode_payload(frame.payload).sequence) for frame in signed)
    marked = [frame for frame in frames if isinstance(frame, BootstrapFrame | TrafficFrame)]
    marks = [
        frame.watermark for frame in marked if isinstance(frame, BootstrapFrame) or not frame.destination
    ]
    assert sorted(column(rows, 4)) == sorted(str(mark.sequence) for mark in marks)
    assert [column(rows, index) for index in (5, 6, 7)] == [[], [], []]
    assert len(column(rows, 0)) > 3


def sent(*frames: bytes) -> Capture:
    capture = Capture()
    Connection(capture, 50_000).send(True, b"".join(frames))
    return capture


def test_the_handshake(tmp_path: Path) -> None:
    handshake = load(TRANSCRIPTS[0]).sent(1)[:HANDSHAKE_LENGTH]
    fields = ("pinecone.handshake.capabilities", "pinecone.key", "pinecone.address", "pinecone.signature")
    [row] = tshark(sent(handshake), tmp_path, *fields)
    key = handshake[8:40]
    assert row == ["0x0000003b", key.hex(), IPv6Address(address_of(key)).exploded, handshake[40:].hex()]


@pytest.mark.parametrize("destination", [Coords([]), Coords([3, 5000, 1])])
def test_traffic(tmp_path: Path, destination: Coords) -> None:
    watermark = FULL if destination else Watermark(KEYS[0], 2**40)
    frame = TrafficFrame(destination, Coords([7]), *KEYS, watermark, b"payload", hop_limit=9)
    names = ("hop_limit", "length", "source", "destination_key", "source_key", "payload", "payload_length")
    fields = [*(f"pinecone.{name}" for name in names), "pinecone.destination", "pinecone.watermark.sequence"]
    encoded = encode_frame(frame)
    rows = tshark(sent(encoded), tmp_path, *fields)
    assert rows == [
        ["9", str(len(encoded)), "[7]", KEYS[0].hex(), KEYS[1].hex(), b"payload".hex(), "7"]
        + (["[3,5000,1]", ""] if destination else ["[]", str(2**40)])
    ]


def test_many_frames_in_a_segment_and_one_in_many(tmp_path: Path) -> None:
    large = encode_frame(TrafficFrame(Coords([1]), Coords([2]), *KEYS, FULL, bytes(30_000)))
    capture = sent(*[encode_frame(Keepalive())] * 5, large, encode_frame(UnknownFrame(9, b"new")))
    rows = tshark(capture, tmp_path, "pinecone.type", "pinecone.payload_length")
    assert column(rows) == ["0"] * 5 + ["3", "9"]
    assert column(rows, 1) == ["30000"]


def test_what_is_wrong_is_marked(tmp_path: Path) -> None:
    good = encode_frame(TreeAnnouncementFrame(bytes(200)))
    short = good[:8] + (HEADER_LENGTH + 2).to_bytes(2) + good[10:12]
    rows = tshark(
        sent(encode_frame(Keepalive()), short, b"GET / HTTP/1.1\r\n"),
        tmp_path,
        "pinecone.malformed",
        "pinecone.foreign",
    )
    assert len(column(rows, 0)) == len(column(rows, 1)) == 1


def test_other_connections_are_left_alone(tmp_path: Path) -> None:
    assert tshark(sent(b"GET / HTTP/1.1\r\n\r\n"), tmp_path, "pinecone.type") == []


def test_websocket(tmp_path: Path) -> None:
    capture = Capture()
    connection = Connection(capture, 50_000, 80)
    connection.send(
        False,
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    )
    connection.send(
        True,
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n",
    )
    message = encode_frame(Keepalive()) * 2
    connection.send(True, bytes([0x82, len(message)]) + message)
    assert column(tshark(capture, tmp_path, "pinecone.type")) == ["0", "0"]


def test_beacons(tmp_path: Path) -> None:
    capture = Capture()
    capture.datagram(60606, KEYS[0] + (4444).to_bytes(2))
    rows = tshark(capture, tmp_path, "pinecone.key", "pinecone.beacon.port", wanted="pinecone_beacon")
    assert rows == [[KEYS[0].hex(), "4444"]]
