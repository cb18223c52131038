# SPDX-License-Identifier: Apache-2.0
"""The one error of this room."""


class CodecError(ValueError):
    """Bytes that do not parse, or values that have no encoding."""
