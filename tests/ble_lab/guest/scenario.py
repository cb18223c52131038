# SPDX-License-Identifier: Apache-2.0
"""What happens in the lab's machine: two daemons peer by Bluetooth, and again after whatever befalls them.

Without an argument these are the stages of the test. With a number, it is a peering with traffic for so many
minutes, with a look at the daemons every minute.
"""

import contextlib
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.ble_lab.guest.machine import (
    Bluetoothd,
    Node,
    TooLateError,
    known_objects,
    run,
    set_powered,
    start_bluetooth,
    tell,
    wait_until,
)
from tests.ble_lab.guest.sink import PORT

BULK = 200_000


class Scenario:
    """Two nodes: `a` on hci0, and `b` on hci1 with its interface in a namespace."""

    def __init__(self) -> None:
        Path("/dev/net/tun").chmod(0o666)
        self.bluetoothd = start_bluetooth()
        self.a = Node("pinea", "hci0")
        self.b = Node("pineb", "hci1", "other")
        self.sink = subprocess.Popen(
            ["ip", "netns", "exec", "other", "python3", "-m", "tests.ble_lab.guest.sink"]
        )

    def peer(self, stage: str) -> None:
        """Wait until both say that they are peered, and tell how long it took since both were up.

        To come up takes a daemon many seconds of emulated processor time, which say nothing about it.
        """
        up = wait_until(f"{stage}: both daemons are up", lambda: self.a.ready() and self.b.ready())
        seconds = wait_until(f"{stage}: peered", lambda: self.a.peered() and self.b.peered(), 90)
        tell(stage=stage, up=round(up, 1), seconds=round(seconds, 1))

    def start(self) -> None:
        """Both, at once."""
        self.a.start()
        self.b.start()
        self.peer("start")
        self.a.place_interface()
        self.address = self.b.place_interface()
        self.ping("ping")

    def ping(self, stage: str, count: int = 5) -> None:
        """From a to b."""
        wait_until(f"{stage}: an answer", self.reached)
        answer = run(f"ping -6 -n -c {count} -i 0.3 -W 5 {self.address}")
        received = re.search(r"(\d+) received", answer)
        times = re.search(r"= ([\d.]+)/([\d.]+)/([\d.]+)", answer)
        tell(
            stage=stage,
            received=int(received[1]) if received else 0,
            milliseconds=float(times[2]) if times else None,
        )

    def reached(self) -> bool:
        """Whether b answers."""
        with contextlib.suppress(TooLateError):
            run(f"ping -6 -n -c 1 -W 2 {self.address}")
            return True
        return False

    def bulk(self, size: int = BULK) -> float:
        """From a to b by TCP; bytes per second."""
        with socket.create_connection((self.address, PORT), timeout=60) as sending:
            began = time.monotonic()
            sending.sendall(bytes(size))
            sending.shutdown(socket.SHUT_WR)
            got = sending.recv(16)
            seconds = time.monotonic() - began
        if int(got) != size:
            raise TooLateError(f"{got!r} bytes of {size} came")
        return size / seconds

    def befall(self) -> None:
        """All the stages in which something happens."""
        set_powered("hci0", on=False)
        wait_until("the peering is gone", lambda: not self.a.peered())
        tell(stage="powered off", adapter=self.a.ask("/v1/ble")["adapter"])
        set_powered("hci0", on=True)
        self.peer("powered on")
        self.ping("ping after power")

        self.bluetoothd.kill()
        wait_until("both notice", lambda: not (self.a.peered() or self.b.peered()))
        tell(stage="bluetoothd killed", adapter=self.a.ask("/v1/ble")["adapter"])
        self.bluetoothd = Bluetoothd()
        self.peer("bluetoothd restarted")
        self.ping("ping after bluetoothd")

        self.b.kill()
        wait_until("the other notices", lambda: not self.a.peered())
        self.b.start()
        self.peer("daemon restarted")
        self.b.place_interface()
        self.ping("ping after restart")
        tell(stage="end", devices=known_objects("Device1"), status=[self.a.stop(), self.b.stop()])

    def endure(self, minutes: float) -> None:
        """Traffic, and a look every minute."""
        end = time.monotonic() + 60 * minutes
        while time.monotonic() < end:
            look_at = time.monotonic() + 60
            rates = []
            while time.monotonic() < look_at:
                try:
                    rates.append(self.bulk())
                except OSError as error:
                    wait_until("it works again", self.reached, 180)
                    tell(outage=str(error))
            for node in (self.a, self.b):
                ble = node.ask("/v1/ble")
                tell(
                    node=node.name,
                    left=round(end - time.monotonic()),
                    descriptors=node.descriptors(),
                    memory=node.residents(),
                    advertising=ble["advertising"],
                    scanning=ble["scanning"],
                    counters={name: count for name, count in ble["counters"].items() if count},
                )
            tell(
                rate=round(min(rates)),
                devices=known_objects("Device1"),
                bluetoothd=self.bluetoothd.residents(),
            )


def main() -> None:
    """Run the stages; with everybody's log, if one fails."""
    scenario = Scenario()
    try:
        scenario.start()
        if len(sys.argv) > 1:
            scenario.endure(float(sys.argv[1]))
        else:
            tell(stage="bulk", rate=round(scenario.bulk()))
            scenario.befall()
    except BaseException:
        for log in (scenario.a.log, scenario.b.log, Path("/run/bluetoothd.log")):
            print(f"--- {log}\n{log.read_text()[-6000:]}")
        raise


if __name__ == "__main__":
    main()
