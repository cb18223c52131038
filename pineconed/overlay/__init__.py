# SPDX-License-Identifier: Apache-2.0
"""This host as an endpoint of the network: IPv6 packets to and from the frames that carry them."""
