# SPDX-License-Identifier: Apache-2.0
"""Looks, by netlink, whether the rules that come with pineconed (packaging/nftables) guard an interface.

pyroute2 brings an event loop of its own and fails inside a running one, so this blocks and belongs into a
thread. Only our own table is asked for, so that it takes a few milliseconds beside any number of rules.
"""

import errno
import os
from typing import Any

from pyroute2.netlink import NLM_F_DUMP, NLM_F_REQUEST
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.nfnetlink.nftsocket import (
    NFT_MSG_GETCHAIN,
    NFT_MSG_GETRULE,
    NFT_MSG_GETSETELEM,
    NFT_MSG_GETTABLE,
    NFTSocket,
    nft_chain_msg,
    nft_rule_msg,
    nft_set_elem_list_msg,
    nft_table_msg,
)

from pineconed.tun.inbound import Inbound

TABLE = "pineconed"
"""Name of our table, of the family inet."""

_SET = "interfaces"
_CHAINS = ("input", "overlay")
_NFPROTO_INET = 1
_NF_INET_LOCAL_IN = 1
_NFT_TABLE_F_DORMANT = 1

_OPEN = "anyone on the overlay reaches the services that listen on this machine"
_OTHERS = "other firewall rules are not looked at"
_ENABLE = "to change that: systemctl enable --now pineconed-firewall"
_RESTORE = f"table inet {TABLE} is there but does not filter; to mend it: systemctl reload pineconed-firewall"


def look(interface: str) -> Inbound:
    """What becomes of traffic that comes in by this interface; what the kernel does not tell is `unknown`."""
    try:
        with NFTSocket(nfgen_family=_NFPROTO_INET) as netlink:
            hole = _hole(netlink, interface)
    except (NetlinkError, OSError) as error:
        return Inbound("unknown", f"cannot read the firewall rules: {_reason(error)}")
    if hole is None:
        return Inbound("filtered", f"by table inet {TABLE}")
    return Inbound("open", f"{_OPEN} ({_OTHERS}); {hole}")


def _hole(netlink: NFTSocket, interface: str) -> str | None:
    """What to do so that our table guards the interface; None if it does."""
    tables = _ask(netlink, nft_table_msg(), NFT_MSG_GETTABLE, 0, {"NFTA_TABLE_NAME": TABLE})
    if not tables:
        return _ENABLE
    asleep = (tables[0].get_attr("NFTA_TABLE_FLAGS") or 0) & _NFT_TABLE_F_DORMANT
    if asleep or not _is_hooked(netlink) or not all(_has_rules(netlink, chain) for chain in _CHAINS):
        return _RESTORE
    if not _is_named(netlink, interface):
        return (
            f"table inet {TABLE} does not name {interface}; to change that, write 'add element inet {TABLE} "
            f'{_SET} {{ "{interface}" }}\' into /etc/pineconed/firewall.d/local.nft, then '
            "systemctl reload pineconed-firewall"
        )
    return None


def _is_hooked(netlink: NFTSocket) -> bool:
    """Whether what comes in passes our chain."""
    names = {"NFTA_CHAIN_TABLE": TABLE, "NFTA_CHAIN_NAME": "input"}
    hooks = [
        chain.get_attr("NFTA_CHAIN_HOOK")
        for chain in _ask(netlink, nft_chain_msg(), NFT_MSG_GETCHAIN, 0, names)
    ]
    return any(hook is not None and hook.get_attr("NFTA_HOOK_HOOKNUM") == _NF_INET_LOCAL_IN for hook in hooks)


def _has_rules(netlink: NFTSocket, chain: str) -> bool:
    names = {"NFTA_RULE_TABLE": TABLE, "NFTA_RULE_CHAIN": chain}
    rules = _ask(netlink, nft_rule_msg(), NFT_MSG_GETRULE, NLM_F_DUMP, names)
    return any(rule.get_attr("NFTA_RULE_CHAIN") == chain for rule in rules)


def _is_named(netlink: NFTSocket, interface: str) -> bool:
    """Whether our table guards the interface."""
    names = {"NFTA_SET_ELEM_LIST_TABLE": TABLE, "NFTA_SET_ELEM_LIST_SET": _SET}
    for part in _ask(netlink, nft_set_elem_list_msg(), NFT_MSG_GETSETELEM, NLM_F_DUMP, names):
        for element in part.get_attr("NFTA_SET_ELEM_LIST_ELEMENTS") or ():
            key = element.get_attr("NFTA_SET_ELEM_KEY")
            if key is None:  # the element * for all that are not named
                return True
            value: bytes = key.get_attr("NFTA_DATA_VALUE")
            if value.rstrip(b"\0").decode(errors="replace") == interface:
                return True
    return False


def _ask(netlink: NFTSocket, message: Any, kind: int, flags: int, names: dict[str, str]) -> list[Any]:
    """The kernel's answers to a request for what has these names; none for what is not there."""
    message["attrs"] = list(names.items())
    try:
        return list(netlink.request_get(message, kind, NLM_F_REQUEST | flags))
    except NetlinkError as error:
        if error.code == errno.ENOENT:
            return []
        raise


def _reason(error: Exception) -> str:
    code = getattr(error, "code", None) or getattr(error, "errno", None)
    if code in {errno.EPERM, errno.EACCES}:
        return "that needs CAP_NET_ADMIN"
    return os.strerror(code) if code else str(error)
