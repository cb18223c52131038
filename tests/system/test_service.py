# SPDX-License-Identifier: Apache-2.0
"""The installed service on booted machines: start, rights, reload, crashes, who may ask it, ssh over it."""

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.network.lab import LabError, wait_until
from tests.system.conftest import Pair, reached
from tests.system.machine import Machine, link

pytestmark = [pytest.mark.system, pytest.mark.timeout(580)]

CAP_NET_ADMIN = 1 << 12
CONFIG = "/etc/pineconed/pineconed.toml"
KEY = "/var/lib/pineconed/node.key"
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534")
DROP_IN = "/run/systemd/system/pineconed.service.d/test.conf"
ENCRYPTED_KEY = "/etc/credstore.encrypted/pineconed.node.key"


def running_again(machine: Machine, old: int, seconds: float) -> float:
    """Wait until another process is the daemon and answers; returns after how many seconds."""
    return wait_until(
        lambda: machine.main_pid() not in {0, old} and machine.attempt("pineconectl", "status")[0] == 0,
        seconds,
        lambda: machine.attempt("journalctl", "--no-pager", "--unit=pineconed", "--lines=30")[1],
    )


@contextmanager
def drop_in(machine: Machine, text: str) -> Iterator[None]:
    """Restarts the service with these settings, and at the end without them."""
    machine.run("mkdir", "-p", str(Path(DROP_IN).parent))
    machine.path(DROP_IN).write_text(f"[Service]\n{text}\n")
    try:
        restart(machine)
        yield
    finally:
        machine.path(DROP_IN).unlink()
        restart(machine)


def restart(machine: Machine) -> None:
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "restart", "pineconed")


def test_it_is_active_when_start_returns_because_it_said_so(pair: Pair) -> None:
    seen = pair.near.properties("pineconed", "ActiveState", "Type", "NRestarts")
    assert (seen["ActiveState"], seen["Type"], seen["NRestarts"]) == ("active", "notify", "0")


def test_the_status_line_tells_how_the_node_is_doing(pair: Pair) -> None:
    def line() -> str:
        return pair.near.properties("pineconed", "StatusText")["StatusText"]

    wait_until(lambda: line().startswith("1 peer, root "), 10, line)
    print("status line:", line())


def test_it_runs_as_its_user_with_one_capability(pair: Pair) -> None:
    status = pair.near.run("cat", f"/proc/{pair.near.main_pid()}/status")
    fields = dict(re.findall(r"^(\w+):\t(.*)$", status, re.MULTILINE))
    uid = pair.near.run("id", "-u", "pineconed").strip()
    gid = pair.near.run("id", "-g", "pineconed").strip()
    assert set(fields["Uid"].split()) == {uid}
    assert set(fields["Gid"].split()) == {gid}
    assert set(fields["Groups"].split()) <= {gid}
    for kind in ("CapPrm", "CapEff", "CapBnd", "CapInh", "CapAmb"):
        assert int(fields[kind], 16) == CAP_NET_ADMIN, kind
    assert fields["NoNewPrivs"] == "1"


def test_its_sandbox_lets_it_raise_the_limit_on_descriptors(pair: Pair) -> None:
    limits = pair.near.run("cat", f"/proc/{pair.near.main_pid()}/limits")
    assert re.search(r"^Max open files +4096 ", limits, re.MULTILINE), limits


def test_units_are_right_and_confined(pair: Pair) -> None:
    files = pair.near.run("dpkg", "-L", "pineconed").splitlines()
    units = [name for name in files if name.startswith("/lib/systemd/system/")]
    assert "/lib/systemd/system/pineconed.service" in units
    assert pair.near.run("systemd-analyze", "verify", "--man=no", *units) == ""
    for unit in sorted(Path(name).name for name in units if name.endswith(".service")):
        report = pair.near.run("systemd-analyze", "security", "--no-pager", unit)
        exposure = re.search(r"exposure level for \S+: ([\d.]+)", report)
        assert exposure is not None
        print(f"systemd-analyze security: {unit} {exposure[1]}")
        assert float(exposure[1]) <= 2.0


def test_ssh_over_the_overlay(pair: Pair) -> None:
    pair.far.run(
        "sh", "-c", "mkdir -p -m 700 /root/.ssh && ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/id_ed25519"
    )
    key = pair.far.run("cat", "/root/.ssh/id_ed25519.pub")
    pair.near.run("sh", "-c", "mkdir -p -m 700 /root/.ssh && cat > /root/.ssh/authorized_keys", stdin=key)
    pair.near.run("systemctl", "start", "ssh")
    options = ("-o", "StrictHostKeyChecking=no", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-q")
    said = pair.far.run("ssh", *options, f"root@{pair.near.address()}", "hostname; echo $SSH_CONNECTION")
    assert said.splitlines()[0] == pair.near.name
    assert said.splitlines()[1].split()[0] == pair.far.address()


def test_reload_applies_what_has_changed_and_refuses_a_mistake(pair: Pair) -> None:
    path = pair.near.path(CONFIG)
    before, pid = path.read_text(), pair.near.main_pid()
    try:
        path.write_text(before.replace("4444", "4445"))
        pair.near.run("systemctl", "reload", "pineconed")
        wait_until(lambda: ":4445" in pair.near.run("ss", "-Hltn"), 5, "the new listener")
        assert ":4444" not in pair.near.run("ss", "-Hltn")
        path.write_text("listen = 7\n")
        assert pair.near.attempt("systemctl", "reload", "pineconed")[0] != 0
        assert ":4445" in pair.near.run("ss", "-Hltn")
    finally:
        path.write_text(before)
    pair.near.run("systemctl", "reload", "pineconed")
    assert pair.near.main_pid() == pid
    assert pair.near.properties("pineconed", "ActiveState")["ActiveState"] == "active"
    reached(pair)


def test_a_restart_keeps_key_and_address_and_is_quick(pair: Pair) -> None:
    address, key, old = pair.near.address(), pair.near.path(KEY).read_bytes(), pair.near.main_pid()
    took = []
    for _ in range(3):
        pair.near.run("systemctl", "restart", "pineconed")
        stamps = pair.near.properties(
            "pineconed", "ExecMainStartTimestampMonotonic", "ActiveEnterTimestampMonotonic"
        )
        started, ready = (int(value) for value in stamps.values())
        took.append(abs(ready - started) / 1e6)
    print("exec to READY:", ", ".join(f"{seconds:.2f} s" for seconds in took))
    assert pair.near.main_pid() != old
    assert (pair.near.address(), pair.near.path(KEY).read_bytes()) == (address, key)
    assert min(took) <= 1.5  # the shortest, since other tests' leftovers may keep the machine busy
    reached(pair)


def test_it_is_restarted_after_a_crash(pair: Pair) -> None:
    address, old = pair.near.address(), pair.near.main_pid()
    pair.near.run("kill", "-KILL", str(old))
    print(f"back after kill -9: {running_again(pair.near, old, 20):.1f} s")
    assert pair.near.address() == address
    reached(pair)


def test_it_is_restarted_when_it_hangs(pair: Pair) -> None:
    shipped = pair.near.properties("pineconed", "WatchdogUSec")["WatchdogUSec"]
    assert shipped == "20s"
    # A shorter time, for the sake of this test only; and no long wait for a stopped process to end by itself.
    with drop_in(pair.near, "WatchdogSec=2\nTimeoutAbortSec=1"):
        old = pair.near.main_pid()
        time.sleep(5)
        assert pair.near.main_pid() == old, "the watchdog is not fed"
        pair.near.run("kill", "-STOP", str(old))
        print(f"back after SIGSTOP, with a watchdog of 2 s: {running_again(pair.near, old, 30):.1f} s")
        assert "atchdog" in pair.near.run("journalctl", "--no-pager", "--unit=pineconed", "--lines=60")
    reached(pair)


@pytest.mark.parametrize(
    "setting", ["LoadCredential=node.key:/root/node.key", f"LoadCredentialEncrypted=node.key:{ENCRYPTED_KEY}"]
)
def test_the_key_may_be_a_credential(pair: Pair, setting: str) -> None:
    far = pair.far
    address, file = far.address(), far.path(KEY).read_bytes()
    made = far.run("sh", "-c", "umask 077 && pineconed genkey > /root/node.key")
    far.run("mkdir", "-p", str(Path(ENCRYPTED_KEY).parent))
    far.run("systemd-creds", "encrypt", "--with-key=host", "--name=node.key", "/root/node.key", ENCRYPTED_KEY)
    with drop_in(far, setting):
        assert far.address() != address
        assert far.address() in made
        assert far.path(KEY).read_bytes() == file
        reached(pair)
    assert far.address() == address
    reached(pair)


def test_members_of_the_group_may_use_pineconectl(pair: Pair) -> None:
    gid = pair.near.run("getent", "group", "pineconed").split(":")[2]
    member = (*NOBODY, f"--groups={gid}", "pineconectl")
    assert pair.far.address() in pair.near.run(*member, "peers", "--json")
    pair.near.run(*member, "reload")


def test_strangers_may_look_at_the_status_and_nothing_else(pair: Pair) -> None:
    stranger = (*NOBODY, "--clear-groups", "pineconectl")
    assert pair.near.address() in pair.near.run(*stranger, "status")
    for command in (["peers"], ["sessions"], ["reload"], ["add-peer", "tcp://192.0.2.1:4444"]):
        code, said = pair.near.attempt(*stranger, *command)
        assert code != 0, command
        assert "Traceback" not in said
        assert "group" in said


def test_what_needs_the_overlay_can_wait_for_it(pair: Pair) -> None:
    target, wait = "pineconed-online.target", "pineconed-wait-online.service"
    pair.near.run("systemctl", "stop", "pineconed")
    pair.far.run("systemctl", "restart", "pineconed")
    pair.far.run("systemctl", "start", "--no-block", target)
    time.sleep(3)
    assert states(pair.far, target, wait) == ["inactive", "activating"], "it is alone"
    pair.near.run("systemctl", "start", "pineconed")
    pair.far.run("systemctl", "start", target, timeout=80)
    assert states(pair.far, target, wait) == ["active", "active"]
    assert pair.far.status()["joined"]
    pair.far.run("systemctl", "stop", "pineconed")
    assert states(pair.far, target, wait) == ["inactive", "inactive"], "its network is gone"
    pair.far.run("systemctl", "start", "pineconed")
    reached(pair)


def states(machine: Machine, *units: str) -> list[str]:
    """What systemd says of each."""
    return [machine.properties(unit, "ActiveState")["ActiveState"] for unit in units]


def test_the_journal_finds_the_lines_about_a_peer(pair: Pair) -> None:
    key = pair.far.status()["public_key"]
    show = ("journalctl", "--no-pager", "--output=json", "--unit=pineconed")
    found = [json.loads(line) for line in pair.near.run(*show, f"PEER={key}").splitlines()]
    assert {entry["PEER"] for entry in found} == {key}
    assert any("peering up" in entry["MESSAGE"] for entry in found)
    assert len(found) < len(pair.near.run(*show).splitlines())
    own = pair.near.status()["public_key"]
    assert pair.near.run(*show, f"PEER={own}") == ""


def test_without_its_credential_it_does_not_start(pair: Pair) -> None:
    setting = "LoadCredential=node.key:/root/nothing"
    with pytest.raises(LabError, match="243/CREDENTIALS"), drop_in(pair.far, setting):
        pass
    reached(pair)


def test_what_is_enabled_is_there_after_a_reboot(pair: Pair) -> None:
    address, key = pair.near.address(), pair.near.path(KEY).read_bytes()
    pair.near.run("systemctl", "enable", "pineconed", "pineconed-firewall")
    pair.near.reboot()
    assert states(pair.near, "pineconed", "pineconed-firewall") == ["active", "active"]
    link(pair.near, pair.far, "10.9.0")
    reached(pair)
    assert (pair.near.address(), pair.near.path(KEY).read_bytes()) == (address, key)
    assert pair.near.status()["inbound"]["state"] == "filtered"
    said = pair.near.run("journalctl", "--no-pager", "--boot", "--unit=pineconed", "--output=cat")
    assert re.findall(r"inbound traffic .*state=(\w+)", said) == ["filtered"], "at no time was it open"
