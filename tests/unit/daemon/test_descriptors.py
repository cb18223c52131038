# SPDX-License-Identifier: Apache-2.0
"""The limit on open descriptors, tried in processes of their own."""

import subprocess
import sys

import pytest

from pineconed.daemon.descriptors import WANTED

_TRY = """
import resource
from pineconed.daemon.config import Config
from pineconed.daemon import app, run
from pineconed.daemon.config_load import Loaded

class Daemon:
    def __init__(self, *_): pass
    def stop(self): pass
    def reload(self): pass
    async def run(self):
        print(*resource.getrlimit(resource.RLIMIT_NOFILE))

resource.setrlimit(resource.RLIMIT_NOFILE, (SOFT, HARD))
run.Daemon = Daemon
run.run_until_stopped(Loaded(Config(), None, "file"), lambda: None)
"""


@pytest.mark.parametrize(
    ("soft", "hard", "after"),
    [(1024, 8192, WANTED), (1024, 2048, 2048), (6000, 8192, 6000)],
    ids=["usual", "low", "higher"],
)
def test_there_are_enough_for_the_most_peers_and_strangers(soft: int, hard: int, after: int) -> None:
    program = _TRY.replace("SOFT", str(soft)).replace("HARD", str(hard))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(after), str(hard)]
