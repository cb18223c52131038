# SPDX-License-Identifier: Apache-2.0
"""The one error of this room."""

from pineconed.wire.errors import CodecError


class NoiseError(CodecError):
    """A handshake message that was refused; the state that read it is spoilt, so read on a copy."""
