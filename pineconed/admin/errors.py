# SPDX-License-Identifier: Apache-2.0
"""The error that a call of the admin API ends with, and those of its socket and of the daemon behind it."""

from pineconed.admin import schema

STATUS_OF: dict[schema.ErrorCode, int] = {
    "bad_request": 400,
    "not_permitted": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "conflict": 409,
    "limit": 409,
    "too_large": 413,
    "bad_config": 409,
    "not_saved": 500,
    "internal": 500,
}
"""The HTTP status of each error code."""


class AdminError(Exception):
    """A call is refused: `code` for programs, `message` and `remedy` for people."""

    def __init__(self, code: schema.ErrorCode, message: str, remedy: str) -> None:
        super().__init__(message)
        self.code: schema.ErrorCode = code
        self.message = message
        self.remedy = remedy

    @property
    def status(self) -> int:
        """The HTTP status to answer with."""
        return STATUS_OF[self.code]

    def body(self) -> schema.Error:
        """The JSON to answer with."""
        return schema.Error(schema.ErrorBody(self.code, self.message, self.remedy))


class AdminSocketError(Exception):
    """The admin socket cannot be made; `remedy` says what to do about it."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.remedy = remedy


class SaveError(Exception):
    """The saved peers cannot be written down; the message names the file and says why."""


class ReloadError(Exception):
    """There is a mistake in the configuration; each line of the message names one and its place."""
