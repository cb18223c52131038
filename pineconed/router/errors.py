# SPDX-License-Identifier: Apache-2.0
"""The error of the control plane."""


class PeerFaultError(Exception):
    """A peer broke a rule of the protocol that ends its peering.

    `cause` is a short fixed phrase that logs are grouped by, `detail` says what was seen.
    """

    def __init__(self, cause: str, detail: str = "") -> None:
        super().__init__(f"{cause}: {detail}" if detail else cause)
        self.cause = cause
        self.detail = detail
