# SPDX-License-Identifier: Apache-2.0
"""Per-packet work on ints, bytes and tuples only: forwarding table, next hops, forwarding, queues.

The router fills the table by its mutators; nothing here calls back into the router.
"""
