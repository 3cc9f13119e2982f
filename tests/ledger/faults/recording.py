"""The system calls of a few processes, read back from strace's log as steps of one history."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from attrs import field, frozen

__all__ = ["OPTIONS", "Step", "steps_of"]

_CALLS = (
    "open,openat,write,pwrite64,ftruncate,rename,renameat,renameat2,unlink,unlinkat,rmdir,mkdir,mkdirat,link,linkat,writev,"
    "fsync,fdatasync,sync_file_range,copy_file_range,sendfile"
)
_MODELLED = {"open", "write", "pwrite64", "ftruncate", "rename", "unlink", "mkdir", "fsync", "fdatasync"}
OPTIONS = ("-xx", "-y", "-s", "10000000", "-e", f"trace=?{_CALLS.replace(',', ',?')}")
"""Of strace: everything that changes what a disk holds, with all of its bytes."""

_WHOLE = re.compile(r"(\d+) +(\w+)\((.*)\) += (-?\d+)")
_BEGUN = re.compile(r"(\d+) +(\w+)\((.*) <unfinished \.\.\.>")
_ENDED = re.compile(r"(\d+) +<\.\.\. (\w+) resumed>(.*)\) += (-?\d+)")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_FILE = re.compile(r"(?<![A-Z])\d+<((?:\\x[0-9a-f]{2})+)>")


@frozen(kw_only=True)
class Step:
    """One system call that went well, or the begin of one that takes its time."""

    call: str
    """`open`, `write`, `truncate`, `rename`, `unlink`, `mkdir`, `sync begins`, `sync` or `said`."""
    path: str
    target: str = ""
    data: bytes = field(default=b"", repr=False)
    offset: int | None = None
    """Of a write that is not at the end."""
    size: int = 0
    is_created: bool = False
    is_emptied: bool = False
    number: int = 0
    """The same for the begin of a sync and its end."""


def steps_of(log: Path, said: str) -> list[Step]:
    """The steps in the order in which they took effect; a write to a pipe whose name starts with `said` is an answer."""
    steps: list[Step] = []
    begun: dict[str, tuple[str, int]] = {}
    for number, line in enumerate(log.read_text(encoding="ascii").splitlines()):
        if match := _WHOLE.fullmatch(_without_words(line)):
            _, call, arguments, result = match.groups()
            steps += _begin(call, arguments, number)
        elif match := _BEGUN.fullmatch(line):
            begun[match[1]] = (match[3], number)
            steps += _begin(match[2], match[3], number)
            continue
        elif match := _ENDED.fullmatch(_without_words(line)):
            thread, call, rest, result = match.groups()
            before, number = begun.pop(thread)
            arguments = before + rest
        else:
            continue  # a signal, or the end of a process
        if int(result) >= 0:
            steps += _step(call, arguments, int(result), number, said)
    return steps


def _without_words(line: str) -> str:
    """`line` without what strace adds behind a result."""
    return re.sub(r"(\) += -?\d+)[^\"]*$", r"\1", line)


def _begin(call: str, arguments: str, number: int) -> Iterator[Step]:
    if call in {"fsync", "fdatasync"}:
        yield Step(call="sync begins", path=_file(arguments), number=number)


def _step(call: str, arguments: str, result: int, number: int, said: str) -> Iterator[Step]:
    texts = [_bytes(text) for text in _TEXT.findall(arguments)]
    call = re.sub(r"(at|at2)$", "", call)
    assert call in _MODELLED, f"{call} is not modelled"
    match call:
        case "write" if Path(_file(arguments)).name.startswith(said):
            yield Step(call="said", path="", data=texts[0][:result])
        case "write":
            yield Step(call="write", path=_file(arguments), data=texts[0][:result])
        case "pwrite64":
            offset = int(arguments.rsplit(", ", 1)[1])
            yield Step(call="write", path=_file(arguments), data=texts[0][:result], offset=offset)
        case "ftruncate":
            yield Step(call="truncate", path=_file(arguments), size=int(arguments.rsplit(", ", 1)[1]))
        case "fsync" | "fdatasync":
            yield Step(call="sync", path=_file(arguments), number=number)
        case "open":
            flags = arguments.rsplit('"', 1)[1]
            if "O_CREAT" in flags or "O_TRUNC" in flags:
                yield Step(call="open", path=texts[0].decode(), is_created="O_CREAT" in flags, is_emptied="O_TRUNC" in flags)
        case "rename":
            yield Step(call="rename", path=texts[0].decode(), target=texts[1].decode())
        case _:
            yield Step(call=call, path=texts[0].decode())


def _file(arguments: str) -> str:
    match = _FILE.match(arguments)
    assert match is not None, arguments
    return _bytes(match[1]).decode()


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))
