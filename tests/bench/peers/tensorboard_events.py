"""A loss curve as TensorBoard's event files: `python -m tests.bench.peers.tensorboard_events FOLDER NUM_STEPS`."""

from __future__ import annotations

import sys
import time
from importlib import import_module
from typing import Any

__all__: list[str] = []


def main(folder: str, num_steps: int) -> None:
    """Write one scalar a step."""
    writers: Any = import_module("tensorboard.summary.writer.event_file_writer")
    event_pb2: Any = import_module("tensorboard.compat.proto.event_pb2")
    summary_pb2: Any = import_module("tensorboard.compat.proto.summary_pb2")
    writer = writers.EventFileWriter(folder)
    for step in range(num_steps):
        value = summary_pb2.Summary.Value(tag="loss_nats", simple_value=3 - step / 20)
        writer.add_event(event_pb2.Event(wall_time=time.time(), step=step, summary=summary_pb2.Summary(value=[value])))
    writer.close()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
