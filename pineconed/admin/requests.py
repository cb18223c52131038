# SPDX-License-Identifier: Apache-2.0
"""What calls of the admin API take: parameters of the query string, or a JSON body; else as in `schema`."""

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from pineconed.admin.schema import (
    MAX_ROWS,
    DirectionName,
    Key,
    LevelName,
    Limit,
    Node,
    PeerState,
    Port,
    Uri,
)


class NoParameters(Struct, frozen=True, forbid_unknown_fields=True):
    """For calls that take nothing."""


class PeersQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Filters; all given ones must hold."""

    state: Annotated[PeerState | UnsetType, Meta(description="Only peers in this state.")] = UNSET
    direction: Annotated[DirectionName | UnsetType, Meta(description="Only peers of this direction.")] = UNSET
    node: Annotated[Node | UnsetType, Meta(description="Only peerings to this node.")] = UNSET
    port: Annotated[Port | UnsetType, Meta(description="Only the peering on this port.")] = UNSET
    limit: Limit = MAX_ROWS


class AddPeer(Struct, frozen=True, forbid_unknown_fields=True):
    """A peer to dial from now on."""

    uri: Uri
    save: Annotated[bool, Meta(description="Also after the next start.")] = False


class RemovePeerQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Exactly one of these names what to remove."""

    uri: Annotated[Uri | UnsetType, Meta(description="A configured peer.")] = UNSET
    key: Annotated[Node | UnsetType, Meta(description="All peerings to this node.")] = UNSET
    port: Annotated[Port | UnsetType, Meta(description="The peering on this port.")] = UNSET


class SnakeQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Which rows of the table."""

    cursor: Annotated[Key | UnsetType, Meta(description="'next_cursor' of the answer before.")] = UNSET
    limit: Limit = 100


class SessionsQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Which rows of the table."""

    node: Annotated[Node | UnsetType, Meta(description="Only the session with this node.")] = UNSET
    cursor: Annotated[Node | UnsetType, Meta(description="'next_cursor' of the answer before.")] = UNSET
    limit: Limit = 100


class SendPing(Struct, frozen=True, forbid_unknown_fields=True):
    """One echo inside the session with a node; without a session one is dialled first."""

    to: Node
    timeout_seconds: Annotated[
        float, Meta(ge=0.1, le=30, description="How long to wait, the handshake included.")
    ] = 5.0


class RouteQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Where to."""

    to: Node


class AddressQuery(Struct, frozen=True, forbid_unknown_fields=True):
    """Of which node."""

    of: Node


class SetLogLevel(Struct, frozen=True, forbid_unknown_fields=True):
    """The level to log at from now on, until the daemon stops."""

    level: LevelName
