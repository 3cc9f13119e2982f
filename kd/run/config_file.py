"""Reading a run's configuration from disk."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from kd.errors import ConfigError, ConfigProblem, UsageError
from kd.run.config import RunConfig
from kd.run.config_text import parse_run_config

__all__ = ["load_run_config", "shipped_configs"]


def load_run_config(path: Path, *, overrides: Sequence[str] = ()) -> RunConfig:
    """The run that the YAML file at `path` describes.

    Raises ConfigError with every mistake, UsageError where there is no such file.
    """
    found = _find(path)
    text = _read(found, str(path))

    def read_named(name: str) -> tuple[str, str]:
        beside = found.parent / name
        source = beside if beside.is_file() else shipped_configs() / name.removeprefix("configs/")
        return name, _read(source, name)

    return parse_run_config(text, file=str(path), overrides=overrides, read_named=read_named, beside=lambda name: str(found.parent / name))


def shipped_configs() -> Path:
    """The folder of configurations that came with kd: in an installed copy inside the package, in a checkout beside it."""
    package = Path(__file__).parent.parent
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"


def _find(path: Path) -> Path:
    if path.is_file():
        return path
    shipped = shipped_configs() / str(path).removeprefix("configs/")
    if not path.is_absolute() and shipped.is_file():
        return shipped
    names = [str(Path("configs") / other.name) for other in sorted(shipped_configs().glob("*.yaml"))]
    close = difflib.get_close_matches(str(path), names, n=1)
    hint = f"Did you mean {close[0]}?" if close else f"Configurations that come with kd: {', '.join(names)}."
    raise UsageError(f"There is no configuration file {str(path)!r}.", hint=hint)


def _read(path: Path, shown: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        message = f"The file is not UTF-8 text ({error.reason} at byte {error.start}): save it as UTF-8."
    except OSError as error:
        message = f"The file cannot be read ({error.strerror or error}): name one that can."
    raise ConfigError([ConfigProblem(path="(whole file)", file=shown, message=message)])
