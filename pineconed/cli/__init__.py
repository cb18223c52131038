# SPDX-License-Identifier: Apache-2.0
"""pineconectl: the admin API for people, on the command line.

`main` runs the commands of the modules `commands_*`. A command gets JSON from the client,
turns it into blocks (`view_*`: facts and tables, each value once as plain text and once for people), and
`output` writes them: `plain` into a pipe, `terminal` with rich on a terminal, or the JSON as it came.
"""
