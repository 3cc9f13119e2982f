"""One small conversion, done once and looked at by many tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from kd.artifacts import Artifact, artifact_of
from kd.conversion.commands import StartConversion
from kd.conversion.config import ConversionConfig
from kd.conversion.executor import execute
from kd.conversion.machine import STAGE
from kd.conversion.reference import Reference
from kd.ports import Ports
from tests.conversion.exports import export_artifact
from tests.fakes import make_ports, run_stage


@frozen(kw_only=True)
class Conversion:
    """A conversion that ran to its end."""

    ports: Ports
    export: Artifact
    reference: Reference
    state: Any
    events: tuple[Any, ...]

    def events_of(self, cls: type) -> list[Any]:
        """The events of one class."""
        return [event for event in self.events if isinstance(event, cls)]

    def folder(self, kind: str) -> Path:
        """The files of the output of `kind`."""
        return self.ports.fetch(artifact_of(self.state.outputs, kind))


@pytest.fixture(scope="session")
def conversion(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Conversion]:
    """Both presets of three functions of length 16."""
    ports = make_ports(tmp_path_factory.mktemp("conversion"))
    export = export_artifact(ports)
    start = StartConversion(config=ConversionConfig(threads=1), inputs=(export,), seed=3)
    state, events = run_stage(STAGE, execute, start, ports)
    yield Conversion(ports=ports, export=export, reference=Reference(ports.fetch(export)), state=state, events=events)
    ports.resources.close()
