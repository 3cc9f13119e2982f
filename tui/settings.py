"""What a person wants of every screen: `$XDG_CONFIG_HOME/kd/tui.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import field, fields, frozen

from tui.themes import PALETTES

__all__ = ["Settings", "load_settings", "settings_path"]


@frozen(kw_only=True)
class Settings:
    """The keys of the file, with what holds where it says nothing."""

    theme: str = "kd-dark"
    half_life_steps: int = 50
    """Of the smoothed line in charts."""
    mouse: bool = True
    ascii: bool = False
    content: bool = True
    """Texts of prompts and replies are shown."""
    keys: Mapping[str, str] = field(factory=dict)
    """Own keys by their id, with spaces between several."""


def settings_path(environ: Mapping[str, str]) -> Path:
    """Where the file is, if there is one."""
    home = environ.get("XDG_CONFIG_HOME")
    return (Path(home) if home else Path.home() / ".config") / "kd" / "tui.yaml"


def load_settings(path: Path) -> Settings:
    """What `path` says; ValueError naming all mistakes, one a line. Without a file everything is as it comes."""
    if not path.exists():
        return Settings()
    from ruamel.yaml import YAML  # only whoever has a file waits for it
    from ruamel.yaml.error import YAMLError

    try:
        data = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except (YAMLError, UnicodeDecodeError, OSError) as error:
        raise ValueError(f"{path}: it cannot be read ({' '.join(str(error).split())}).") from error
    if data is None:
        return Settings()
    if not isinstance(data, Mapping):
        raise ValueError(f"{path}: it is no mapping, expected lines such as `theme: kd-dark`.")
    problems = [f"{path}: {problem}" for key, value in data.items() for problem in _problems(key, value)]
    if problems:
        raise ValueError("\n".join(problems))
    return Settings(**data)


def _problems(key: object, value: Any) -> list[str]:
    known = {each.name: each for each in fields(Settings)}
    if key not in known:
        return [f"{key}: there is no such key, expected one of {', '.join(known)}."]
    match key:
        case "theme" if value not in PALETTES:
            return [f"theme is {value!r}, expected one of {', '.join(PALETTES)}."]
        case "half_life_steps" if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            return [f"half_life_steps is {value!r}, expected a whole number of steps, 0 for no smoothing."]
        case "mouse" | "ascii" | "content" if not isinstance(value, bool):
            return [f"{key} is {value!r}, expected true or false."]
        case "keys" if not isinstance(value, Mapping) or not all(isinstance(text, str) for pair in value.items() for text in pair):
            return ["keys is no mapping of key ids to keys, expected lines such as `pause: P`."]
        case _:
            return []
