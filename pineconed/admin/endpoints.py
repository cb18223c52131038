# SPDX-License-Identifier: Apache-2.0
"""Every call of the admin API: the one table that the server and the OpenAPI document are made from."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from msgspec import Struct

from pineconed.admin import requests, schema, schema_ble
from pineconed.admin.handlers import AdminBackend

RequestT = TypeVar("RequestT", bound=Struct)
AnswerT = TypeVar("AnswerT")


@dataclass(frozen=True, slots=True)
class Endpoint(Generic[RequestT, AnswerT]):
    """One call.

    `name` and `summary` are for the document; `request` is read from the query string, or with
    `in_body` from a JSON body; `errors` are the statuses that this call in particular can end with.
    """

    method: str
    path: str
    name: str
    summary: str
    request: type[RequestT]
    answer: type[AnswerT]
    call: Callable[[AdminBackend, RequestT], AnswerT | Awaitable[AnswerT]]
    in_body: bool = False
    success: int = 200
    errors: tuple[int, ...] = ()


ENDPOINTS: tuple[Endpoint[Any, Any], ...] = (
    Endpoint(
        "GET",
        "/v1/status",
        "getStatus",
        "The node as a whole",
        requests.NoParameters,
        schema.Status,
        AdminBackend.status,
    ),
    Endpoint(
        "GET",
        "/v1/peers",
        "getPeers",
        "Peerings, and configured peers that are down",
        requests.PeersQuery,
        list[schema.Peer],
        AdminBackend.peers,
    ),
    Endpoint(
        "POST",
        "/v1/peers",
        "addPeer",
        "Dial a peer from now on, until it is removed, or the daemon stops and it is not saved",
        requests.AddPeer,
        schema.AddedPeer,
        AdminBackend.add_peer,
        in_body=True,
        success=201,
        errors=(409,),
    ),
    Endpoint(
        "DELETE",
        "/v1/peers",
        "removePeer",
        "Close peerings and dial their peers no longer; name exactly one of uri, key and port",
        requests.RemovePeerQuery,
        schema.RemovedPeers,
        AdminBackend.remove_peer,
        errors=(404,),
    ),
    Endpoint(
        "GET",
        "/v1/tree",
        "getTree",
        "The place of this node in the spanning tree",
        requests.NoParameters,
        schema.Tree,
        AdminBackend.tree,
    ),
    Endpoint(
        "GET",
        "/v1/snake",
        "getSnake",
        "The table of the virtual snake, by key, a page at a time",
        requests.SnakeQuery,
        schema.Snake,
        AdminBackend.snake,
    ),
    Endpoint(
        "GET",
        "/v1/sessions",
        "getSessions",
        "The encrypted sessions with other nodes, and those reached in the clear, a page at a time",
        requests.SessionsQuery,
        schema.Sessions,
        AdminBackend.sessions,
    ),
    Endpoint(
        "POST",
        "/v1/ping",
        "sendPing",
        "Send one echo inside the session with a node and wait for the answer",
        requests.SendPing,
        schema.Ping,
        AdminBackend.ping,
        in_body=True,
        errors=(409,),
    ),
    Endpoint(
        "GET",
        "/v1/routes",
        "getRoute",
        "Where a frame for a node would leave now, and why",
        requests.RouteQuery,
        schema.Route,
        AdminBackend.route,
    ),
    Endpoint(
        "GET",
        "/v1/address",
        "getAddress",
        "The address of a key, or what is known of the key of an address",
        requests.AddressQuery,
        schema.AddressAnswer,
        AdminBackend.address,
    ),
    Endpoint(
        "GET",
        "/v1/discovery",
        "getDiscovery",
        "LAN discovery: on which interfaces, and what came of it",
        requests.NoParameters,
        schema.Discovery,
        AdminBackend.discovery,
    ),
    Endpoint(
        "GET",
        "/v1/ble",
        "getBle",
        "Bluetooth: the adapter, what it does, and the devices that were seen",
        requests.NoParameters,
        schema_ble.Ble,
        AdminBackend.ble,
    ),
    Endpoint(
        "POST",
        "/v1/reload",
        "reload",
        "Read the configuration again and apply what has changed; a mistake in it changes nothing",
        requests.NoParameters,
        schema.Reloaded,
        AdminBackend.reload,
        errors=(409,),
    ),
    Endpoint(
        "GET",
        "/v1/log-level",
        "getLogLevel",
        "How much the daemon logs",
        requests.NoParameters,
        schema.LogLevel,
        AdminBackend.log_level,
    ),
    Endpoint(
        "PUT",
        "/v1/log-level",
        "setLogLevel",
        "Log more or less from now on, until the daemon stops",
        requests.SetLogLevel,
        schema.LogLevel,
        AdminBackend.set_log_level,
        in_body=True,
    ),
    Endpoint(
        "GET",
        "/v1/version",
        "getVersion",
        "What is running",
        requests.NoParameters,
        schema.Version,
        AdminBackend.version,
    ),
)
