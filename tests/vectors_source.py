# SPDX-License-Identifier: Apache-2.0
"""Where the protocol's test vectors come from: the folder in `PINECONE_VECTORS`, or the copy here."""

import json
import os
from pathlib import Path
from typing import Any


def load_vectors(name: str) -> list[dict[str, Any]]:
    """The vectors of one file, `name` without its extension; all bytes in them are lower-case hex."""
    folder = Path(os.environ.get("PINECONE_VECTORS") or Path(__file__).parent / "vectors")
    vectors: list[dict[str, Any]] = json.loads((folder / f"{name}.json").read_text())
    return vectors
