# SPDX-License-Identifier: Apache-2.0
"""`wait`: looks again and again until the node is as far as it is wanted to be, or the time is over."""

import time

from pineconed.admin import requests, schema
from pineconed.admin.client import ClientError, NoDaemonError, decode
from pineconed.cli.echoing import ANSWER_GRACE
from pineconed.cli.settings import Settings

PAUSE = 0.25
"""Seconds between two looks."""

STAGES = {
    "up": "the daemon is up",
    "peer": "a peering is up",
    "tree": "this node has joined its network",
}
"""How far this node can be, and what is said when it is; every other goal is another node."""

_ECHO_SECONDS = 5.0
"""How long one echo may take, so that a lost one costs no more."""


class NotInTimeError(ClientError):
    """The time is over; the message says how far the node is."""


def wait_for(settings: Settings, goal: str, timeout: float) -> float:
    """Wait for one of `STAGES`, or the node with this key or address; the seconds that it took.

    NotInTimeError, or NoDaemonError if none answers, after `timeout` seconds.
    """
    began = time.monotonic()
    while True:
        left = timeout - (time.monotonic() - began)
        missing = _missing(settings, goal, left)
        if missing is None:
            return time.monotonic() - began
        if left <= 0:
            raise missing
        time.sleep(min(PAUSE, left))


def _missing(settings: Settings, goal: str, left: float) -> ClientError | None:
    """What keeps the goal from being reached now; None when it is."""
    try:
        if goal in STAGES:
            return _shortcoming(decode(settings.look("/v1/status"), schema.Status), goal)
        return _silence(settings, goal, left)
    except NoDaemonError as error:
        return error


def _shortcoming(status: schema.Status, goal: str) -> ClientError | None:
    if goal == "up" or status.joined or (goal == "peer" and status.peers):
        return None
    if status.peers:
        return NotInTimeError("no peer has the same root as this node yet", "see 'pineconectl tree'")
    down = f", and {status.peers_down} configured ones are down" if status.peers_down else ""
    return NotInTimeError(f"this node has no peers{down}", "see 'pineconectl peers' for why")


def _silence(settings: Settings, node: str, left: float) -> ClientError | None:
    seconds = min(_ECHO_SECONDS, max(left, 0.1))
    answer = settings.client(seconds + ANSWER_GRACE).post("/v1/ping", requests.SendPing(node, seconds))
    echo = decode(answer, schema.Ping)
    return None if echo.answered else NotInTimeError(echo.explanation, f"see 'pineconectl routes {node}'")
