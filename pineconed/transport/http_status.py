# SPDX-License-Identifier: Apache-2.0
"""The status of an HTTP answer, for people."""

from http import HTTPStatus


def printable_status(code: int) -> str:
    """The number, with its phrase if it is one that HTTP knows."""
    try:
        return f"{code} ({HTTPStatus(code).phrase})"
    except ValueError:
        return str(code)
