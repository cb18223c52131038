# SPDX-License-Identifier: Apache-2.0
"""The daemon: configuration, identity, logs, the event loop's driver and the composition of all rooms."""
