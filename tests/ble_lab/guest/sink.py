# SPDX-License-Identifier: Apache-2.0
"""Takes TCP connections one after the other, and answers each with the number of bytes that came by it."""

import contextlib
import socket

PORT = 7007


def main() -> None:
    """Until it is killed."""
    with socket.create_server(("::", PORT), family=socket.AF_INET6) as listening:
        while True:
            taken, _ = listening.accept()
            with taken, contextlib.suppress(OSError):
                count = 0
                while data := taken.recv(65536):
                    count += len(data)
                taken.sendall(str(count).encode())


if __name__ == "__main__":
    main()
