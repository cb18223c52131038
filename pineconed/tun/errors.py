# SPDX-License-Identifier: Apache-2.0
"""The one error of this room."""


class TunError(Exception):
    """The TUN device cannot be had or configured. `remedy` says what the operator can do about it."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}; {remedy}")
        self.problem = problem
        self.remedy = remedy
