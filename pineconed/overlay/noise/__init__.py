# SPDX-License-Identifier: Apache-2.0
"""The Noise Protocol Framework, revision 34, as far as sessions need it: XX, also with a KEM."""
