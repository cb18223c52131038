# SPDX-License-Identifier: Apache-2.0
"""Random values of everything that has an encoding, and buffers of every kind to read it from."""

from hypothesis import strategies as st

from pineconed.wire.announcement import Announcement, Hop
from pineconed.wire.frame import (
    BootstrapFrame,
    Frame,
    Keepalive,
    TrafficFrame,
    TreeAnnouncementFrame,
    UnknownFrame,
    WakeupBroadcastFrame,
)
from pineconed.wire.root import Root
from pineconed.wire.signed_payload import SignedPayload
from pineconed.wire.watermark import FULL, Watermark

U64 = st.integers(0, 2**64 - 1) | st.integers(0, 300)
U8 = st.integers(0, 255)
KEYS = st.binary(min_size=32, max_size=32)
SIGNATURES = st.binary(min_size=64, max_size=64)
PAYLOADS = st.binary(max_size=300)
COORDS = st.lists(U64, max_size=12).map(tuple)
ROOTS = st.builds(Root, KEYS, U64)
WATERMARKS = st.builds(Watermark, KEYS, U64)
HOPS = st.builds(Hop, U64, KEYS, SIGNATURES)
ANNOUNCEMENTS = st.builds(Announcement, ROOTS, st.lists(HOPS, max_size=6).map(tuple))
SIGNED_PAYLOADS = st.builds(SignedPayload, U64, ROOTS, SIGNATURES)

_TRAVELLING = {"extra": U8, "hop_limit": U8, "version": U8}
FRAMES: st.SearchStrategy[Frame] = st.one_of(
    st.builds(Keepalive, **_TRAVELLING),
    st.builds(TreeAnnouncementFrame, PAYLOADS, **_TRAVELLING),
    st.builds(BootstrapFrame, KEYS, WATERMARKS, PAYLOADS, **_TRAVELLING),
    st.builds(TrafficFrame, st.just(()), COORDS, KEYS, KEYS, WATERMARKS, PAYLOADS, **_TRAVELLING),
    st.builds(
        TrafficFrame,
        st.lists(U64, min_size=1, max_size=12).map(tuple),
        COORDS,
        KEYS,
        KEYS,
        st.just(FULL),
        PAYLOADS,
        **_TRAVELLING,
    ),
    st.builds(WakeupBroadcastFrame, KEYS, PAYLOADS, **_TRAVELLING),
    st.builds(UnknownFrame, st.integers(5, 255), PAYLOADS, **_TRAVELLING),
)


def mutated(encoded: bytes) -> st.SearchStrategy[bytes]:
    """`encoded` with a stretch of it replaced: close enough to the real thing to pass the first checks."""
    cut = st.integers(0, len(encoded))
    return st.builds(
        lambda start, stop, patch: encoded[:start] + patch + encoded[stop:], cut, cut, st.binary(max_size=8)
    )
