# SPDX-License-Identifier: Apache-2.0
"""A throw-away SSH server and client with keys of their own, for the lab."""

import os
from pathlib import Path

from tests.network.lab import Namespace, Process, run

SERVER = "/usr/sbin/sshd"
PORT = 2222


class SshServer:
    """An sshd that listens on one overlay address and knows one client key."""

    def __init__(self, host: Namespace, address: str) -> None:
        self.address = address
        self.directory = host.lab.directory / f"ssh-{host.label}"
        self.directory.mkdir()
        for name in ("host", "client"):
            run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.directory / name)])
        (self.directory / "client.pub").rename(self.directory / "authorized")
        Path("/run/sshd").mkdir(exist_ok=True)  # where sshd confines itself before the log-in
        self.process: Process = host.start("sshd", SERVER, "-D", "-e", "-f", str(self._configuration()))
        self.process.wait_for("Server listening on")

    def _configuration(self) -> Path:
        path = self.directory / "sshd_config"
        path.write_text(
            f"Port {PORT}\nListenAddress [{self.address}]\nHostKey {self.directory / 'host'}\n"
            f"AuthorizedKeysFile {self.directory / 'authorized'}\nPidFile none\nStrictModes no\nUsePAM no\n"
            "PasswordAuthentication no\nPermitRootLogin prohibit-password\nSubsystem sftp internal-sftp\n"
        )
        return path

    def _options(self) -> list[str]:
        return [
            "-6",
            "-q",
            "-F",
            "none",
            "-i",
            str(self.directory / "client"),
            "-o",
            "BatchMode=yes",
            "-o",
            "StrictHostKeyChecking=no",
            "-o",
            "UserKnownHostsFile=/dev/null",
            "-o",
            "ConnectTimeout=10",
        ]

    def execute(self, client: Namespace, command: str, timeout: float = 30.0) -> str:
        """Run `command` on the server from `client` and return what it printed."""
        argv = ["ssh", *self._options(), "-p", str(PORT), f"{user()}@{self.address}", command]
        return client.run(*argv, timeout=timeout)

    def copy(self, client: Namespace, source: Path, target: Path, timeout: float = 120.0) -> None:
        """Copy the file `source` of the client to `target` on the server."""
        argv = ["scp", *self._options(), "-P", str(PORT), str(source), f"{user()}@[{self.address}]:{target}"]
        client.run(*argv, timeout=timeout)


def user() -> str:
    """Name of the user who runs the tests."""
    return os.environ.get("USER") or "root"
