# SPDX-License-Identifier: Apache-2.0
"""The answers of the admin API, one struct per shape: read by the server, the OpenAPI document and the CLI.

Public keys are 64 lower-case hexadecimal digits, addresses IPv6 text, times seconds, sizes bytes. A name
that is here stays: fields may be added within version 1, never renamed or removed, and clients ignore
those that they do not know.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

API_VERSION = 1
MAX_ROWS = 1000

Key = Annotated[
    str, Meta(pattern="^[0-9a-f]{64}$", description="Ed25519 public key, 64 lower-case hexadecimal digits.")
]
Address = Annotated[
    str, Meta(description="IPv6 address in the overlay.", extra_json_schema={"format": "ipv6"})
]
Count = Annotated[int, Meta(ge=0)]
Seconds = Annotated[float, Meta(ge=0)]
Port = Annotated[int, Meta(ge=1, le=253, description="Number of a peering on this node.")]
Limit = Annotated[int, Meta(ge=1, le=MAX_ROWS, description="The most rows to answer with.")]
Coords = Annotated[
    list[Count],
    Meta(description="Place in the spanning tree: the port numbers from the root down; empty for the root."),
]
Node = Annotated[
    str,
    Meta(min_length=2, max_length=100, description="Public key (64 hexadecimal digits) or overlay address."),
]
Uri = Annotated[str, Meta(min_length=1, max_length=2000, description="Such as tcp://192.0.2.1:4444.")]
PeerTypeName = Literal["pipe", "multicast", "bonjour", "remote", "bluetooth"]
DirectionName = Literal["inbound", "outbound"]
PeerState = Literal["up", "handshake", "connecting", "waiting"]
PeerSource = Literal["file", "flag", "saved", "api", "multicast", "bluetooth"]
RouteMethod = Literal["local", "tree", "snake", "none"]
SessionState = Literal["up", "dialling", "failed", "bare"]
SessionPath = Literal["tree", "snake"]
PingFailure = Literal["route", "session", "peer"]
InboundState = Literal["filtered", "open", "unknown"]
LevelName = Literal["debug", "info", "warning", "error"]
ErrorCode = Literal[
    "bad_request",
    "not_permitted",
    "not_found",
    "method_not_allowed",
    "conflict",
    "limit",
    "too_large",
    "bad_config",
    "not_saved",
    "internal",
]


class Root(Struct, frozen=True):
    """A root of the spanning tree; two are the same when both fields are."""

    public_key: Key
    sequence: Annotated[Count, Meta(description="Counts up while the same node stays root.")]


class Watermark(Struct, frozen=True):
    """How near to its destination a frame has come on the snake."""

    public_key: Key
    sequence: Count


# ---------------------------------------------------------------- answers


class Inbound(Struct, frozen=True):
    """Whether the overlay reaches the services of this machine."""

    state: Annotated[
        InboundState,
        Meta(
            description="'filtered': the firewall rules that come with pineconed are in force; 'open': they "
            "are not, and others are not looked at; 'unknown': the kernel did not tell."
        ),
    ]
    explanation: Annotated[str, Meta(description="Why, and what to do about it, in words.")]


class Status(Struct, frozen=True, kw_only=True):
    """The node as a whole."""

    version: Annotated[str, Meta(description="Version of pineconed.")]
    public_key: Key
    address: Address
    coords: Coords
    root: Annotated[Root, Meta(description="The root of the tree that this node is part of.")]
    parent: Annotated[Key | None, Meta(description="The peer towards the root; null on the root itself.")]
    peers: Annotated[Count, Meta(description="Peerings that are up.")]
    peers_down: Annotated[Count, Meta(description="Configured peers that are not up.")]
    uptime_seconds: Seconds
    tun: Annotated[str | None, Meta(description="Name of the TUN device; null on a pure router.")]
    inbound: Annotated[
        Inbound | None,
        Meta(description="What becomes of traffic from the overlay; null without a TUN device."),
    ]
    listeners: Annotated[list[str], Meta(description="URIs at which this node takes peerings.")]
    drops: Annotated[dict[str, Count], Meta(description="What was dropped since the start, by cause.")]
    counters: Annotated[dict[str, Count], Meta(description="Other totals since the start.")]
    joined: Annotated[
        bool, Meta(description="A peer follows the same root, so this node is part of its network.")
    ] = False
    reduced: Annotated[
        bool, Meta(description="Answered by the status socket: `parent` and `listeners` are left out.")
    ] = False


class Peer(Struct, frozen=True, kw_only=True):
    """One peering, or a configured peer that is down (`port` null, `state` waiting or connecting)."""

    port: Annotated[Port | None, Meta(description="Null until the handshake is done.")]
    public_key: Annotated[Key | None, Meta(description="Null until the handshake is done.")]
    address: Annotated[Address | None, Meta(description="Null until the handshake is done.")]
    uri: Annotated[str, Meta(description="The configured URI, or what is known of an inbound peer's.")]
    remote: Annotated[str | None, Meta(description="Address of the other end of the stream.")]
    direction: Annotated[DirectionName, Meta(description="Which side dialled: inbound means the other did.")]
    scheme: Annotated[str, Meta(description="What carries the peering: tcp, tls, ws, wss, unix or ble.")]
    proven: Annotated[
        bool,
        Meta(
            description="TLS has proved the public key; else it is what the other end says, and may be a "
            "recorded claim."
        ),
    ]
    type: Annotated[PeerTypeName, Meta(description="The medium; an earlier one in the list is preferred.")]
    zone: Annotated[str, Meta(description="'static' for configured peers, else the network it was found on.")]
    state: PeerState
    source: Annotated[
        PeerSource | None,
        Meta(
            description="Where the peer comes from: the configuration file, a flag in its place, the saved "
            "peers, this API until the daemon stops, LAN discovery or Bluetooth; null if it came by itself."
        ),
    ]
    uptime_seconds: Annotated[Seconds | None, Meta(description="Since the stream was opened; null if down.")]
    idle_seconds: Annotated[Seconds | None, Meta(description="Since the last byte came; null if down.")]
    announced: Annotated[bool, Meta(description="A valid tree announcement has come.")]
    is_parent: Annotated[bool, Meta(description="This peering leads to the root.")]
    coords: Annotated[Coords | None, Meta(description="The peer's coords, once announced.")]
    root: Annotated[Root | None, Meta(description="The root that the peer follows, once announced.")]
    rtt_seconds: Annotated[Seconds | None, Meta(description="Round trip as the kernel measures it (TCP).")]
    rx_bytes: Annotated[Count, Meta(description="Received in all.")]
    tx_bytes: Annotated[Count, Meta(description="Sent in all.")]
    rx_bytes_per_second: Annotated[Seconds | None, Meta(description="Mean of about the last five seconds.")]
    tx_bytes_per_second: Annotated[Seconds | None, Meta(description="Mean of about the last five seconds.")]
    rx_traffic_bytes: Annotated[Count, Meta(description="Received: packets of users.")]
    tx_traffic_bytes: Annotated[Count, Meta(description="Sent: packets of users.")]
    rx_protocol_bytes: Annotated[Count, Meta(description="Received: what keeps the network together.")]
    tx_protocol_bytes: Annotated[Count, Meta(description="Sent: what keeps the network together.")]
    rx_frames: Count
    tx_frames: Count
    queued_bytes: Annotated[Count, Meta(description="Waiting to be sent.")]
    drops: Annotated[dict[str, Count], Meta(description="What was dropped on this peering, by cause.")]
    last_error: Annotated[str | None, Meta(description="Why the last try or peering ended, if one did.")]
    attempts: Annotated[Count | None, Meta(description="Tries since it last worked, if configured.")]
    next_try_seconds: Annotated[Seconds | None, Meta(description="Until the next try, if one is due.")]
    rssi_dbm: Annotated[
        int | None, Meta(description="Bluetooth: how strongly the device was last received, if it was.")
    ] = None
    psm: Annotated[
        Count | None, Meta(description="Bluetooth: the L2CAP number that the channel was opened to.")
    ] = None
    mtu_in: Annotated[
        Count | None, Meta(description="Bluetooth: bytes that one message to this node may have.")
    ] = None
    mtu_out: Annotated[
        Count | None, Meta(description="Bluetooth: bytes that one message from this node may have.")
    ] = None


class PathStep(Struct, frozen=True):
    """A node on the way from the root to this node, and the port by which it leads on."""

    public_key: Key
    address: Address
    port: Annotated[Count, Meta(description="Its port towards this node.")]


class TreePeer(Struct, frozen=True, kw_only=True):
    """What a peer announced of its place in the tree."""

    port: Port
    public_key: Key
    address: Address
    root: Root
    coords: Coords
    order: Annotated[Count, Meta(description="Counts announcements as they came; lower wins a tie.")]
    age_seconds: Seconds
    is_parent: bool


class Tree(Struct, frozen=True, kw_only=True):
    """The place of this node in the spanning tree."""

    root: Root
    coords: Coords
    parent: Annotated[Key | None, Meta(description="Null on the root itself.")]
    parent_port: Port | None
    parent_age_seconds: Annotated[Seconds | None, Meta(description="Since the parent last announced.")]
    path: Annotated[list[PathStep], Meta(description="From the root down to the parent; empty on the root.")]
    peers: Annotated[list[TreePeer], Meta(description="By port.")]


class SnakeEntry(Struct, frozen=True, kw_only=True):
    """A path of the virtual snake that leads through this node."""

    public_key: Annotated[Key, Meta(description="The node that the path leads to.")]
    address: Address
    sequence: Annotated[Count, Meta(description="When that node set the path up, Unix milliseconds.")]
    source_port: Annotated[Count, Meta(description="Port towards that node.")]
    destination_port: Annotated[
        Count | None, Meta(description="Port on which the path goes on; 0 or null if it ends here.")
    ]
    age_seconds: Seconds
    root: Root


class Snake(Struct, frozen=True, kw_only=True):
    """The table of the virtual snake, by key; at most `limit` rows at a time."""

    descending: Annotated[
        SnakeEntry | None, Meta(description="The nearest lower key known; the snake goes on there.")
    ]
    entries: list[SnakeEntry]
    total: Annotated[Count, Meta(description="Rows in the whole table.")]
    capacity: Annotated[Count, Meta(description="Rows that the table takes before it refuses more.")]
    next_cursor: Annotated[Key | None, Meta(description="Pass it as 'cursor' to go on; null at the end.")]


class Session(Struct, frozen=True, kw_only=True):
    """Another node that packets are exchanged with; the counts go on when keys are renewed."""

    address: Address
    public_key: Annotated[Key | None, Meta(description="Null while only the address is known.")]
    state: Annotated[
        SessionState,
        Meta(
            description="'up'; 'dialling': the handshake runs; 'failed': nobody answered a moment ago; "
            "'bare': no session, as configured under overlay.bare_ipv6."
        ),
    ]
    in_clear: Annotated[
        bool,
        Meta(
            description="Listed under overlay.bare_ipv6: packets that come in the clear are believed, also "
            "while the state is 'up'."
        ),
    ]
    cipher: Annotated[str | None, Meta(description="Such as AES-256-GCM; null if the state is not up.")]
    hybrid: Annotated[bool, Meta(description="ML-KEM-768 guards the keys beside X25519.")]
    initiator: Annotated[bool, Meta(description="This node began the handshake of the present keys.")]
    path: Annotated[SessionPath, Meta(description="'tree': the node's coords are known; else 'snake'.")]
    keys: Annotated[Count, Meta(description="How many key pairs are held: the present one, older ones.")]
    age_seconds: Annotated[Seconds | None, Meta(description="Since the first handshake; null in the clear.")]
    key_age_seconds: Annotated[Seconds | None, Meta(description="Since the last; null if not up.")]
    last_heard_seconds: Annotated[
        Seconds | None, Meta(description="Since anything authentic came; in the clear: anything at all.")
    ]
    rtt_seconds: Annotated[
        Seconds | None, Meta(description="The last round trip, of an echo or a handshake.")
    ]
    waiting_packets: Annotated[Count, Meta(description="Packets that wait for the handshake.")]
    rx_packets: Count
    tx_packets: Count
    rx_bytes: Annotated[Count, Meta(description="IP packets received, without what wraps them.")]
    tx_bytes: Annotated[Count, Meta(description="IP packets sent, without what wraps them.")]
    drops: Annotated[dict[str, Count], Meta(description="What was dropped of this session, by cause.")]


class Sessions(Struct, frozen=True, kw_only=True):
    """The sessions of this node by address; at most `limit` rows at a time."""

    sessions: list[Session]
    total: Annotated[Count, Meta(description="Rows in all.")]
    next_cursor: Annotated[Address | None, Meta(description="Pass it as 'cursor' to go on; null at the end.")]


class Ping(Struct, frozen=True, kw_only=True):
    """What became of one echo."""

    to: Annotated[str, Meta(description="As asked.")]
    address: Address
    public_key: Annotated[Key | None, Meta(description="The key that the answer proved; null without one.")]
    answered: bool
    rtt_seconds: Annotated[Seconds | None, Meta(description="Null if nothing came back.")]
    dialled: Annotated[bool, Meta(description="There was no session, so one was dialled first.")]
    failed: Annotated[
        PingFailure | None,
        Meta(
            description="'route': this node knows no way; 'session': no handshake came about; 'peer': there "
            "is a session, but no answer came; null if one did."
        ),
    ]
    explanation: Annotated[str, Meta(description="The same in words.")]


class Route(Struct, frozen=True, kw_only=True):
    """Where a frame for a node would leave now, and why."""

    to: Annotated[str, Meta(description="As asked.")]
    destination_key: Annotated[
        Key,
        Meta(
            description="Zeros follow the 15 bytes that an address tells, unless a session proved the others."
        ),
    ]
    address: Address
    exact: Annotated[bool, Meta(description="The whole key is known, not only the 15 bytes of an address.")]
    method: Annotated[
        RouteMethod,
        Meta(description="'local': here; 'tree': by coords; 'snake': by key; 'none': it would be dropped."),
    ]
    next_port: Port | None
    next_key: Key | None
    next_address: Address | None
    watermark: Watermark
    explanation: Annotated[str, Meta(description="Why, in words.")]


class AddressAnswer(Struct, frozen=True, kw_only=True):
    """A key and its address; an address alone tells the first 15 bytes of the key."""

    of: Annotated[str, Meta(description="As asked.")]
    address: Address
    public_key: Annotated[Key | None, Meta(description="Null if only an address is known of this node.")]
    key_prefix: Annotated[str, Meta(pattern="^[0-9a-f]{30}$", description="The key's first 15 bytes.")]


class AddedPeer(Struct, frozen=True):
    """A peer that is dialled from now on: until the daemon stops, or if it is saved until it is removed."""

    uri: Annotated[str, Meta(description="As the daemon writes it.")]
    source: PeerSource


class RemovedPeer(Struct, frozen=True, kw_only=True):
    """A peering that was closed, a configured peer that is no longer dialled, or both."""

    uri: str
    port: Port | None
    public_key: Key | None
    source: Annotated[
        PeerSource | None,
        Meta(
            description="Where it came from, if that is known; one of the file or a flag is back at the next "
            "start."
        ),
    ]


class RemovedPeers(Struct, frozen=True):
    """All that a removal ended."""

    removed: list[RemovedPeer]


class LanInterface(Struct, frozen=True, kw_only=True):
    """A network interface of this host, as LAN discovery sees it."""

    name: str
    used: Annotated[bool, Meta(description="Discovery takes part here.")]
    reason: Annotated[
        str | None, Meta(description="Why it is not used, or what goes wrong; null if all is well.")
    ]
    addresses: Annotated[list[str], Meta(description="Where beacons come from: one per IP version.")]
    beacons_sent: Count
    beacons_heard: Annotated[Count, Meta(description="Of other nodes, and whatever else came to the port.")]
    peers: Annotated[Count, Meta(description="Nodes connected here by discovery.")]
    waiting: Annotated[Count, Meta(description="Nodes that are heard here and not connected.")]


class Discovery(Struct, frozen=True, kw_only=True):
    """LAN discovery: on which interfaces, and what came of it."""

    enabled: bool
    interfaces: Annotated[list[LanInterface], Meta(description="All of this host, by index.")]
    counters: Annotated[dict[str, Count], Meta(description="What became of beacons, dials and peerings.")]


class Reloaded(Struct, frozen=True):
    """What a reload changed, one sentence each."""

    applied: Annotated[list[str], Meta(description="What is different now.")]
    failed: Annotated[list[str], Meta(description="What should be and could not, and why.")]
    at_next_start: Annotated[
        list[str],
        Meta(description="Changed settings, as section.key, that take effect when the daemon starts again."),
    ]


class LogLevel(Struct, frozen=True):
    """How much the daemon logs."""

    level: LevelName


class Version(Struct, frozen=True):
    """What is running."""

    version: Annotated[str, Meta(description="Version of pineconed.")]
    api_version: Annotated[Count, Meta(description="Version of this API, the number in its paths.")]
    protocol_version: Annotated[Count, Meta(description="Version of the Pinecone protocol.")]


class ErrorBody(Struct, frozen=True):
    """What was wrong and what to do about it."""

    code: ErrorCode
    message: str
    remedy: str


class Error(Struct, frozen=True):
    """The body of every answer that is not a success."""

    error: ErrorBody
