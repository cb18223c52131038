# SPDX-License-Identifier: Apache-2.0
"""Exceptions that should not be: a mistake in the program costs a peering or packets, never the daemon."""

import structlog

_log = structlog.get_logger(__name__)


class Faults:
    """Counts them, and logs the first of each kind with its traceback. A kind is a type and a place."""

    def __init__(self) -> None:
        self.count = 0
        self._known: set[tuple[type, str, int]] = set()

    def note(self, fault: Exception) -> str:
        """Take note of one; the words for `LinkDown`."""
        self.count += 1
        kind = _kind(fault)
        if kind not in self._known:
            self._known.add(kind)
            _log.error(
                "internal fault, please report it; further ones of its kind are only counted", exc_info=fault
            )
        return f"internal fault: {type(fault).__name__}: {fault}"


def _kind(fault: Exception) -> tuple[type, str, int]:
    trace = fault.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return type(fault), "", 0
    return type(fault), trace.tb_frame.f_code.co_filename, trace.tb_lineno
