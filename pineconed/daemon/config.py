# SPDX-License-Identifier: Apache-2.0
"""What can be configured: every section and key with its type, bounds, default and meaning.

This is the one place that knows them. The checker takes types and bounds from here, `pineconed genconf`
the defaults and the descriptions, so neither can drift from what the daemon does.
"""

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct

DEFAULT_CONFIG_PATH = Path("/etc/pineconed/pineconed.toml")
"""Read when no --config is given; may be missing."""

DEFAULT_EXCLUDE = ("docker*", "veth*", "br-*", "virbr*", "lxc*", "cni*", "wg*", "tun*", "tap*")
"""Interfaces on which LAN discovery has no business, unless the operator says so."""

_DEFAULT_ADMIN_SOCKET = Path("/run/pineconed/admin.sock")
_DEFAULT_STATUS_SOCKET = Path("/run/pineconed/status.sock")

LogLevel = Literal["debug", "info", "warning", "error"]


class NodeSection(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who this node is."""

    key_file: Annotated[
        Path,
        Meta(
            description="File with this node's private key: one line of 64 hexadecimal digits. It decides "
            "the node's address, so keep a copy in a safe place. Nobody but its owner may be able to read it "
            "(chmod 600). When it is missing it is created at the first start."
        ),
    ] = Path("/var/lib/pineconed/node.key")


class TunSection(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The network interface through which programs on this host use the network."""

    enabled: Annotated[
        bool,
        Meta(
            description="Without the interface the node only carries other nodes' traffic, and needs no "
            "privileges. That is what a public peer on a server usually does."
        ),
    ] = True
    name: Annotated[
        str,
        Meta(
            pattern=r"^(?!none\Z)(?!\.{1,2}\Z)[A-Za-z0-9_.-]{1,15}\Z",
            description='Name of the interface, or "auto" to let the kernel choose one.',
            extra={"expected": "an interface name of 1 to 15 letters, digits, '_', '-' or '.', or \"auto\""},
        ),
    ] = "pine0"
    mtu: Annotated[
        int,
        Meta(
            ge=1280,
            le=65000,
            description="Largest IPv6 packet, in bytes, that programs may send through the interface.",
        ),
    ] = 65000
    route: Annotated[
        bool,
        Meta(
            description="Send all of fd00::/8 through the interface (at metric 4096, so that more specific "
            "or preferred routes win). With false the interface only gets this node's own address and "
            "you add the routes."
        ),
    ] = True
    offload: Annotated[
        bool,
        Meta(
            description="Let the kernel leave the cutting of TCP and UDP into packets, and their checksums, "
            "to the nodes at both ends, if it can. That makes small MTUs several times faster. Turn it off "
            "only where the kernel gets it wrong."
        ),
    ] = True


class OverlaySection(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How packets travel between this node and the others: in encrypted sessions."""

    bare_ipv6: Annotated[
        tuple[str, ...],
        Meta(
            description="Nodes of the reference implementation (`pineconeip`), which know no sessions: "
            "public keys or addresses. Packets from and to these travel in the clear, and every node on the "
            "way can read and forge them. All other nodes are reached in sessions only.",
            examples=[["fd57:ecb0:5d62:1da5:2f27:2b8c:f84f:7fd8"]],
            extra={"expected": 'a list of keys or addresses in double quotes such as ["fd57:ecb0:..."]'},
        ),
    ] = ()
    rekey_after: Annotated[
        float,
        Meta(
            ge=1,
            le=120,
            description="Seconds after which the node that began a session renews its keys. Smaller values "
            "are for tests: each renewal costs both nodes a millisecond and protects nothing more.",
        ),
    ] = 120.0


class AdminSection(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The local socket that pineconectl talks to."""

    enabled: Annotated[
        bool, Meta(description="Without the socket pineconectl cannot be used with this node.")
    ] = True
    socket: Annotated[Path, Meta(description="Path of the Unix socket, at most 107 bytes long.")] = (
        _DEFAULT_ADMIN_SOCKET
    )
    mode: Annotated[
        str,
        Meta(
            pattern=r"^0?[0-7]{3}\Z",
            description="Who may connect, as an octal permission mode. Who may connect controls the node.",
            extra={"expected": 'an octal permission mode in quotes such as "0660"'},
        ),
    ] = "0660"
    group: Annotated[
        str,
        Meta(
            pattern=r"^\S*\Z",
            description="Group that owns the socket, by name or number. Empty: the group the daemon runs as.",
            extra={"expected": "the name or number of a group"},
        ),
    ] = ""
    status_socket: Annotated[
        str,
        Meta(
            pattern=r"^(none|/[^\0]*)?\Z",
            description="Path of a second Unix socket, which everybody on this machine may ask for the "
            'node\'s status, less what concerns its peers. "none": there is no such socket. Empty: '
            "/run/pineconed/status.sock if `socket` is at its default, else none.",
            extra={"expected": 'an absolute path (it begins with /) in double quotes, "none", or nothing'},
        ),
    ] = ""

    @property
    def status_path(self) -> Path | None:
        """Where the status socket is; None without one."""
        if self.status_socket:
            return None if self.status_socket == "none" else Path(self.status_socket)
        return _DEFAULT_STATUS_SOCKET if self.socket == _DEFAULT_ADMIN_SOCKET else None

    @property
    def mode_bits(self) -> int:
        """`mode` as a number."""
        return int(self.mode, 8)

    @property
    def group_name(self) -> str | int | None:
        """`group` as a name, a number, or None to leave the socket's group alone."""
        return int(self.group) if self.group.isdecimal() else self.group or None


class LogSection(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the daemon writes to its standard error."""

    level: Annotated[
        LogLevel,
        Meta(
            description="Lines below this level are not written.",
            extra={"expected": '"debug", "info", "warning" or "error"'},
        ),
    ] = "info"
    format: Annotated[
        Literal["auto", "text", "json"],
        Meta(
            description='"text": one readable line each. "json": one JSON object a line. "auto": text, with '
            "colours on a terminal. In systemd's journal lines have their fields and priorities in any case.",
            extra={"expected": '"auto", "text" or "json"'},
        ),
    ] = "auto"


class PeeringSection(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How peerings are dialled and accepted."""

    allowed_keys: Annotated[
        tuple[str, ...],
        Meta(
            description="Public keys of the nodes that may peer with this one without being named in "
            "`connect`: those that connect here, and those found on the local network. Empty: every node. "
            "A listener with key= in its URI takes those keys instead. Only tls:// proves a key; over the "
            "other schemes it is a claim that a stranger can have recorded.",
            examples=[["57ecb05d621da52f272b8cf84f7fd8177c83af1580d25a764cc06436d67171cb"]],
            extra={"expected": "a list of public keys in double quotes, each of 64 hexadecimal digits"},
        ),
    ] = ()
    blocked_keys: Annotated[
        tuple[str, ...],
        Meta(
            description="Public keys of nodes that this one never peers with, whoever connects. They can "
            "still be reached through others, and a key that is blocked costs its owner nothing to replace.",
            examples=[["57ecb05d621da52f272b8cf84f7fd8177c83af1580d25a764cc06436d67171cb"]],
            extra={"expected": "a list of public keys in double quotes, each of 64 hexadecimal digits"},
        ),
    ] = ()
    max_peers: Annotated[
        int,
        Meta(
            ge=0,
            le=253,
            description="How many peerings this node has at most; beyond that only those in `connect` are "
            "made. Some are kept for these in any case.",
        ),
    ] = 253
    backoff_min: Annotated[
        float,
        Meta(
            ge=0.1,
            le=3600,
            description="Seconds to wait before a peer in `connect` is dialled again after it failed. "
            "Doubles with every failure, up to backoff_max; a little chance is added.",
        ),
    ] = 1.0
    backoff_max: Annotated[
        float, Meta(ge=0.1, le=86400, description="The longest wait between two tries, in seconds.")
    ] = 60.0
    saved_peers: Annotated[
        str,
        Meta(
            pattern=r"^(/[^\0]*)?\Z",
            description="File in which `pineconectl add-peer --save` keeps peers, passwords in their URIs "
            "included. It is read after this file, and only pineconed writes it. Empty: peers.toml in the "
            "folder of the key file.",
            extra={"expected": "an absolute path (it begins with /) in double quotes, or nothing in them"},
        ),
    ] = ""
    half_open: Annotated[
        int,
        Meta(
            ge=1,
            le=65536,
            description="How many inbound connections may be in their first handshake (10 s at most) at the "
            "same time; beyond that those that dawdle or come in crowds are closed.",
        ),
    ] = 128
    half_open_per_source: Annotated[
        int,
        Meta(
            ge=1,
            le=65536,
            description="The same for the connections from one source: one IPv4 address or one IPv6 /64.",
        ),
    ] = 16
    links_per_source: Annotated[
        int,
        Meta(
            ge=1,
            le=65536,
            description="How many inbound connections one source may have in all. A node has 253 ports, "
            "some of them kept for the peers in `connect`.",
        ),
    ] = 64
    accepts_per_second: Annotated[
        float,
        Meta(
            ge=0.1,
            le=65536,
            description="How many connections a second are taken from one source in the long run; more are "
            "closed at once.",
        ),
    ] = 16.0
    accepts_burst: Annotated[
        int,
        Meta(ge=1, le=65536, description="How many connections one source may open at one moment."),
    ] = 64
    total_accepts_per_second: Annotated[
        float,
        Meta(
            ge=0.1,
            le=65536,
            description="How many connections a second are taken from all sources together in the long run; "
            "more have to wait. One that is closed at once counts as a tenth.",
        ),
    ] = 100.0
    total_accepts_burst: Annotated[
        int,
        Meta(ge=1, le=65536, description="How many connections are taken at one moment without a wait."),
    ] = 200


class MulticastSection(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """LAN discovery: nodes on one network find each other by multicast beacons and peer by themselves."""

    enabled: Annotated[
        bool,
        Meta(description="Without it only the nodes in `connect` and those that connect here are peers."),
    ] = True
    beacon: Annotated[
        bool,
        Meta(
            description="Tell other nodes on the network of this one, every 2 seconds, so that they connect."
        ),
    ] = True
    listen: Annotated[
        bool, Meta(description="Listen to the beacons of other nodes on the network, and connect to them.")
    ] = True
    include: Annotated[
        tuple[str, ...],
        Meta(
            description="Names of the network interfaces to use; * stands for any letters. Empty: all that "
            "`exclude` does not name. As soon as there are any, the default of `exclude` counts no longer.",
            examples=[["eth*", "wlan0"]],
            extra={"expected": 'a list of names in double quotes such as ["eth*"]'},
        ),
    ] = ()
    exclude: Annotated[
        tuple[str, ...],
        Meta(
            description="Names of network interfaces to leave out: by default those of containers, virtual "
            "machines and VPNs. The node's own, loopback and point-to-point ones are left out anyway.",
            extra={"expected": 'a list of names in double quotes such as ["docker*"]'},
        ),
    ] = DEFAULT_EXCLUDE


class BleSection(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Bluetooth LE: nodes in reach of each other's radio find each other and peer by themselves."""

    enabled: Annotated[
        bool,
        Meta(
            description="Needs a Bluetooth adapter, bluetoothd unless the adapter is one of bumble, and "
            "under systemd the drop-in pineconed-bluetooth.conf."
        ),
    ] = False
    adapter: Annotated[
        str,
        Meta(
            pattern=r"^(|hci[0-9]{1,3}|([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}|bumble:.+)\Z",
            description='Which adapter: "hci0" or its address such as "5C:F3:70:00:00:01"; empty for the '
            'first. "bumble:usb:0" or "bumble:serial:/dev/ttyUSB0" is one that pineconed drives itself, '
            "without bluetoothd.",
            examples=["hci0"],
            extra={"expected": 'such as "hci0", "5C:F3:70:00:00:01" or "bumble:usb:0", or nothing'},
        ),
    ] = ""
    advertise: Annotated[bool, Meta(description="Let other nodes see this one, and connect to it.")] = True
    scan: Annotated[bool, Meta(description="Look for other nodes, and connect to them.")] = True


class Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole configuration; `Config()` is what an empty file means."""

    listen: Annotated[
        tuple[str, ...],
        Meta(
            description="Where other nodes may connect to this one, as a list of URIs: tcp://host:port, and "
            "such of tls, ws, wss and unix. Empty: nowhere; the node then only dials others. [::] takes IPv6 "
            "and IPv4. With tls:// both nodes prove their keys; ?key= and ?password= say who may connect.",
            examples=[["tcp://[::]:4444", "tls://[::]:4445"]],
        ),
    ] = ()
    connect: Annotated[
        tuple[str, ...],
        Meta(
            description="Nodes to stay connected to, as a list of URIs of the same kinds. Names are looked "
            "up at every try. ?key= behind one says whose public key the node must have.",
            examples=[["tcp://peer.example.org:4444", "tcp://[2001:db8::1]:4444"]],
        ),
    ] = ()
    node: NodeSection = NodeSection()
    tun: TunSection = TunSection()
    overlay: OverlaySection = OverlaySection()
    admin: AdminSection = AdminSection()
    log: LogSection = LogSection()
    peering: PeeringSection = PeeringSection()
    multicast: MulticastSection = MulticastSection()
    ble: BleSection = BleSection()

    @property
    def saved_peers(self) -> Path:
        """The file of the saved peers."""
        return Path(self.peering.saved_peers or self.node.key_file.with_name("peers.toml"))
