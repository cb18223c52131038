# SPDX-License-Identifier: Apache-2.0
"""The one error that tells the operator why the daemon will not run."""


class StartError(Exception):
    """The daemon cannot start or go on. The message is for the operator and says what to do about it."""
