# SPDX-License-Identifier: Apache-2.0
"""A network of real nodes in memory, under virtual time.

The parts, from the bottom: `clock` (a heap of events), `signing` (cheap signatures for large networks),
`link` (cables and the byte streams over them), `host` (one node with its simulated transports), `tap` and
`trace` (what crossed which link, and one digest of all of it), `probe` (test traffic), `topology` (seeded
graphs), `network` (everything together) and `scenario` (the questions that tests ask of a network).

The same seed gives the same trace: the same times, frame types, sizes and decisions.
"""
