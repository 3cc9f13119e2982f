"""What a reproduction needs to know of the code and the machine; looked up, never guessed."""

from __future__ import annotations

import hashlib
import os
import platform
from importlib import metadata
from pathlib import Path

import ledger

__all__ = ["code_digest", "describe_environment"]

_PACKAGES = (
    "torch",
    "tokenizers",
    "safetensors",
    "onnx",
    "onnxscript",
    "onnxruntime",
    "coremltools",
    "llguidance",
    "numpy",
    "msgspec",
    "attrs",
)


def code_digest() -> str:
    """SHA-256 over names and contents of every Python source of kd and ledger."""
    digest = hashlib.sha256()
    for root in (Path(__file__).parent.parent, Path(ledger.__path__[0])):
        for path in sorted(root.rglob("*.py")):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            digest.update(f"{root.name}/{path.relative_to(root).as_posix()} {content}\n".encode())
    return digest.hexdigest()


def describe_environment() -> dict[str, str]:
    """Versions and machine facts as text; what could not be read says `unknown:` and why."""
    facts = {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": _processor(),
        "cores": str(os.cpu_count() or "unknown: the system does not say"),
    }
    return facts | {name: _version(name) for name in ("kd-ledger", *_PACKAGES)}


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "unknown: not installed"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown: the system does not say"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown: no model name in /proc/cpuinfo"
