# SPDX-License-Identifier: Apache-2.0
"""The control plane: spanning tree, virtual snake and wakeup broadcasts (protocol sections 4, 5 and 7).

It learns who the peers are, keeps the forwarding table of the data plane up to date through its
mutators, and queues protocol frames. It does no I/O and is told the time.
"""
