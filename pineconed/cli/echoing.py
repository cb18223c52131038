# SPDX-License-Identifier: Apache-2.0
"""`ping`: one echo after the other, a line for each as it comes, and a summary."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec

from pineconed.admin import requests, schema
from pineconed.admin.client import AdminClient, ClientError, decode
from pineconed.cli.output import write_json, write_text
from pineconed.cli.settings import Settings
from pineconed.cli.units import printable, round_trip_text

ANSWER_GRACE = 10.0
"""Seconds that the daemon gets beside the time of an echo before it counts as gone."""

_REMEDIES: dict[schema.PingFailure, str] = {
    "route": "see 'pineconectl peers', and 'pineconectl routes' for this address",
    "session": "see that the node runs, and compare with what 'pineconectl status' shows there",
    "peer": "try again; see 'pineconectl sessions' for when it was last heard",
}


class UnansweredError(ClientError):
    """Not one echo came back; `failed` is what the last one failed at."""

    def __init__(self, message: str, failed: schema.PingFailure) -> None:
        super().__init__(message, _REMEDIES[failed])
        self.failed = failed


@dataclass(frozen=True, slots=True)
class PingPlan:
    """How many echoes, how many seconds between two, and how long to wait for each."""

    to: str
    count: int
    interval: float
    timeout: float


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The JSON of a whole run. `failed` is what the last echo failed at."""

    to: str
    address: str
    sent: int
    answered: int
    loss: float
    rtt_min_seconds: float | None
    rtt_avg_seconds: float | None
    rtt_max_seconds: float | None
    failed: schema.PingFailure | None
    echoes: list[schema.Ping]


def run_pings(settings: Settings, plan: PingPlan) -> None:
    """Send all echoes and sum up, also where Ctrl-C or the daemon's end cuts it short.

    UnansweredError when not one came back.
    """
    began = time.monotonic()
    echoes: list[schema.Ping] = []
    try:
        _run(settings, plan, echoes)
    except KeyboardInterrupt:
        if not echoes:
            raise
    finally:
        if echoes:
            _sum_up(settings, echoes, time.monotonic() - began)
    last = echoes[-1]
    if last.failed is not None and not any(echo.answered for echo in echoes):
        raise UnansweredError(last.explanation, last.failed)


def _run(settings: Settings, plan: PingPlan, echoes: list[schema.Ping]) -> None:
    for echo in _exchange(settings.client(plan.timeout + ANSWER_GRACE), plan):
        if not settings.json:
            write_text(_head(echo, plan) if not echoes else "")
            write_text(_line(len(echoes) + 1, echo, echoes[-1].explanation if echoes else None))
        echoes.append(echo)


def _sum_up(settings: Settings, echoes: list[schema.Ping], seconds: float) -> None:
    if settings.json:
        write_json(msgspec.json.encode(_summary(echoes)))
    else:
        write_text(_tail(_summary(echoes), seconds))


def _exchange(client: AdminClient, plan: PingPlan) -> Iterator[schema.Ping]:
    """One call for each echo, the next one no sooner than the interval says."""
    request = requests.SendPing(plan.to, plan.timeout)
    for number in range(plan.count):
        began = time.monotonic()
        yield decode(client.post("/v1/ping", request), schema.Ping)
        if number + 1 < plan.count:
            time.sleep(max(0.0, began + plan.interval - time.monotonic()))


def _summary(echoes: Sequence[schema.Ping]) -> Summary:
    times = [echo.rtt_seconds for echo in echoes if echo.rtt_seconds is not None]
    return Summary(
        to=echoes[0].to,
        address=echoes[0].address,
        sent=len(echoes),
        answered=len(times),
        loss=1 - len(times) / len(echoes),
        rtt_min_seconds=min(times, default=None),
        rtt_avg_seconds=sum(times) / len(times) if times else None,
        rtt_max_seconds=max(times, default=None),
        failed=echoes[-1].failed,
        echoes=list(echoes),
    )


# ---------------------------------------------------------------- words


def _head(echo: schema.Ping, plan: PingPlan) -> str:
    return f"PING {echo.address}: {plan.count} echo{'es' * (plan.count > 1)} inside the session\n"


def _line(number: int, echo: schema.Ping, told: str | None) -> str:
    """One echo; an explanation that was told just before is not told again."""
    if echo.rtt_seconds is None:
        why = f"the {echo.failed} fails. {echo.explanation}" if echo.explanation != told else "as before"
        return printable(f"echo {number}: no answer: {why}") + "\n"
    first = " (after the handshake)" if echo.dialled else ""
    return f"echo {number} from {echo.address}: time={round_trip_text(echo.rtt_seconds)}{first}\n"


def _tail(summary: Summary, seconds: float) -> str:
    text = (
        f"\n{summary.sent} sent, {summary.answered} answered, {summary.loss:.0%} lost, in {seconds:.1f} s\n"
    )
    if summary.answered:
        times = (summary.rtt_min_seconds, summary.rtt_avg_seconds, summary.rtt_max_seconds)
        text += f"round trip min/avg/max = {' / '.join(map(round_trip_text, times))}\n"
    return text
