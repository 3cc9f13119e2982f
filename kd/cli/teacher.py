"""`kd teacher serve` and `kd teacher check`: a model behind an OpenAI-compatible endpoint, and what an endpoint can do.

The models are imported inside the commands, so that no other command waits for torch.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from kd.cli.exit_codes import DONE
from kd.cli.options import JsonFlag
from kd.cli.screen import print_document, print_line
from kd.errors import UsageError

__all__ = ["Threads", "check_teacher", "serve_teacher"]

_DEFAULT = "smollm2"
_KEY_VARIABLE = "KD_TEACHER_KEY"

Threads = Annotated[int, Parameter(name="--threads", help="Processor threads for the model.")]


def serve_teacher(
    model: Annotated[str, Parameter(help="smollm2, or the folder of a model.")] = _DEFAULT,
    *,
    port: Annotated[int, Parameter(name="--port", help="0 takes any free port.")] = 8010,
    host: Annotated[str, Parameter(name="--host", help="The address to listen on; without a key, so keep it to loopback.")] = "127.0.0.1",
    threads: Threads = 2,
    fault: Annotated[
        str, Parameter(name="--fault", help="Faults to make on purpose, as 429:.1,500:.05; also stall, cut, garbage, half.")
    ] = "",
    fault_seed: Annotated[int, Parameter(name="--fault-seed", help="Which requests meet the faults.")] = 0,
    parent_pipe: Annotated[
        bool, Parameter(name="--parent-pipe", negative="", help="Announce the address as JSON, and exit when standard input ends.")
    ] = False,
) -> int:
    """Serve a model to OpenAI-compatible clients until Ctrl-C; it thinks about one question at a time."""
    from kd.models.teacher_process import announcement, end_with_parent

    if parent_pipe:
        end_with_parent(sys.stdin.fileno())

    from kd.models.faults import parse_faults
    from kd.models.local_teacher import LocalTeacher
    from kd.models.server import running_server

    faults = parse_faults(fault, fault_seed) if fault else None
    with _model_folder(model) as folder:
        engine = LocalTeacher(folder, threads=threads)

    async def serve() -> None:
        async with running_server(engine, host=host, port=port, faults=faults) as base_url:
            name = engine.identity.model
            print_line(announcement(base_url) if parent_pipe else f"Serving {name} at {base_url}; stop with Ctrl-C.")
            await _interrupted()

    asyncio.run(serve())
    return DONE


def check_teacher(
    teacher: Annotated[str, Parameter(help="The base URL of an endpoint, smollm2, or the folder of a model.")] = _DEFAULT,
    *,
    model: Annotated[str | None, Parameter(name="--model", help="The endpoint's model; else the first that it lists.")] = None,
    threads: Threads = 2,
    json: JsonFlag = False,
) -> int:
    """Ask a teacher what it can do and have it answer one question; a key for it is read from KD_TEACHER_KEY."""
    from kd.models.teacher_check import check_endpoint
    from kd.models.teacher_process import start_teacher

    if teacher.startswith(("http://", "https://")):
        report = asyncio.run(check_endpoint(teacher, model=model, api_key=os.environ.get(_KEY_VARIABLE)))
    else:
        with start_teacher(_checked(teacher), threads=threads) as base_url:
            report = asyncio.run(check_endpoint(base_url, model=model))
    if json:
        print_document(report)
        return DONE
    print_line(f"{report['model']} at {report['base_url']} answers.")
    facts = {"fingerprint": report["fingerprint"], **report["capabilities"], "tokens_per_second": report["tokens_per_second"]}
    for name, value in facts.items():
        print_line(f"  {name}: {'unknown' if value is None else value}")
    print_line(f"  reply to a small question: {report['reply']!r}")
    return DONE


@contextmanager
def _model_folder(model: str) -> Iterator[Path]:
    """The folder of `model`; the default teacher's is written for as long as it is needed."""
    if _checked(model) != _DEFAULT:
        yield Path(model)
        return
    from kd.models.smollm2 import write_teacher_folder

    with tempfile.TemporaryDirectory(prefix="kd-teacher-") as folder:
        write_teacher_folder(Path(folder))
        yield Path(folder)


def _checked(model: str) -> str:
    """`model`, once it is the default teacher's name or a folder that can be one."""
    if model != _DEFAULT and not (Path(model) / "architecture.json").is_file():
        raise UsageError(f"{model!r} is neither {_DEFAULT} nor a folder with architecture.json: name a teacher, or give its folder.")
    return model


async def _interrupted() -> None:
    """Return at the first SIGINT or SIGTERM."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signal_number, stop.set)
    await stop.wait()
