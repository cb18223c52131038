# SPDX-License-Identifier: Apache-2.0
"""Sizes, rates and times in the words that people use, and text that cannot upset a terminal."""

NONE = "-"
"""Stands for a value that there is none of."""


def size_text(count: float) -> str:
    """Bytes in the unit that leaves few digits: `312 B`, `1.5 KiB`, `12.0 GiB`."""
    if count < 1024:
        return f"{count:.0f} B"
    for unit in ("KiB", "MiB", "GiB"):
        count /= 1024
        if count < 1023.95:
            return f"{count:.1f} {unit}"
    return f"{count / 1024:.1f} TiB"


def rate_text(rate: float | None) -> str:
    """Bytes per second."""
    return NONE if rate is None else f"{size_text(rate)}/s"


def duration_text(seconds: float | None) -> str:
    """A time span with its two largest units: `8 s`, `3 min 20 s`, `5 h 2 min`, `12 d 1 h`."""
    if seconds is None:
        return NONE
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def round_trip_text(seconds: float | None) -> str:
    """A round-trip time: `0.31 ms`, `12.4 ms`, `1.20 s`."""
    if seconds is None:
        return NONE
    if seconds >= 1:
        return f"{seconds:.2f} s"
    milliseconds = seconds * 1000
    return f"{milliseconds:.2f} ms" if milliseconds < 10 else f"{milliseconds:.1f} ms"


def number_plain(number: float | None) -> str:
    """A number for programs: no exponent, at most six decimals, none that are zeros."""
    return NONE if number is None else f"{number:.6f}".rstrip("0").rstrip(".")


def coords_text(coords: list[int] | None) -> str:
    """Coords as in JSON, without spaces: `[3,1]`; `[]` is the root's."""
    return NONE if coords is None else f"[{','.join(map(str, coords))}]"


def printable(text: str) -> str:
    """The text with everything that is not a printable character written as an escape.

    Names and errors come from other machines; a terminal must not obey them.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
