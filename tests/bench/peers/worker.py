"""A store under measurement in a process of its own: `python -m tests.bench.peers.worker SUBJECT FOLDER`.

Each line on standard input is a JSON command: `{"do": "durable", "n": 20}` calls `Subject(folder).durable(20)` and prints what it
returns as a line of JSON. Runs in the peer's own environment, so this module and the subjects beside it import nothing of kd.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path

__all__: list[str] = []


def main(name: str, folder: str) -> None:
    """Answer commands until standard input ends; what the subject prints goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    subject = importlib.import_module(f"tests.bench.peers.{name}").Subject(Path(folder))
    print(json.dumps({"is_ready": True}), file=answers, flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        answer = getattr(subject, command["do"])(command["n"])
        print(json.dumps(answer), file=answers, flush=True)
    subject.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
