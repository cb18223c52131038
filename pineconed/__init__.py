# SPDX-License-Identifier: Apache-2.0
"""An overlay network daemon that speaks the Pinecone protocol: end-to-end IPv6 over any set of peerings."""

__version__ = "0.1.0"
