"""What `kd run --dry-run` says."""

from __future__ import annotations

from attrs import asdict

from kd.cli.screen import print_document, print_line
from kd.run.config import RunConfig, config_digest
from kd.run.pipeline import STAGE_ORDER

__all__ = ["print_plan"]


def print_plan(config: RunConfig, *, as_json: bool) -> None:
    """The stages, their sizes and the full settings with every default, without doing anything."""
    if as_json:
        print_document({"name": config.name, "stages": STAGE_ORDER, "config_digest": config_digest(config), "config": asdict(config)})
        return
    print_line(f"{config.name}: {' → '.join(STAGE_ORDER)}, seed {config.seed}, configuration {config_digest(config)[:12]}")
    for stage in STAGE_ORDER:
        print_line(f"{stage}:")
        _print_settings(asdict(getattr(config, stage)), indent=1)
    print_line("Nothing was started.")


def _print_settings(settings: dict[str, object], indent: int) -> None:
    for key, value in settings.items():
        if isinstance(value, dict):
            print_line(f"{'  ' * indent}{key}:")
            _print_settings(value, indent + 1)
        elif isinstance(value, tuple | list) and value and isinstance(value[0], dict):
            print_line(f"{'  ' * indent}{key}: {len(value)} entries")
        else:
            print_line(f"{'  ' * indent}{key}: {value}")
