"""One finished export, and one oracle over its student, for all tests that only read them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attrs import frozen

from kd.artifacts import Artifact, artifact_of
from kd.export.config import ExportConfig
from kd.export.events import ENTRIES
from kd.export.executor import execute
from kd.export.machine import STAGE, StartExport
from kd.export.oracle import Oracle, open_oracle
from kd.export.probes import make_probes
from kd.models.contract import Contract, SpecialTokens
from kd.models.programs import read_contract
from kd.ports import Ports
from tests.export.students import TINY, keep_student
from tests.fakes import make_ports, run_stage

CONFIG = ExportConfig(lengths=(32,), primary=32, verify_width=4, threads=1)


@frozen(kw_only=True, eq=False)
class Exported:
    """A finished export of a small student."""

    ports: Ports
    student: Artifact
    events: tuple[Any, ...]
    outputs: tuple[Artifact, ...]
    folder: Path
    contract: Contract


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exported]:
    """The whole stage on a small student, with one length."""
    ports = make_ports(tmp_path_factory.mktemp("export"), ENTRIES)
    student = keep_student(ports)
    state, events = run_stage(STAGE, execute, StartExport(config=CONFIG, inputs=(student,), seed=7), ports)
    assert STAGE.outcome(state) is not None
    folder = ports.fetch(artifact_of(state.outputs, "export"))
    yield Exported(ports=ports, student=student, events=events, outputs=state.outputs, folder=folder, contract=read_contract(folder))
    ports.resources.close()


@pytest.fixture(scope="session")
def oracle(exported: Exported) -> Iterator[Oracle]:
    """The twin's results on probes for the length of `exported`."""
    probes = make_probes(
        (),
        lengths=CONFIG.lengths,
        vocab_size=TINY.vocab_size,
        special=SpecialTokens(bos=1, eos=2, pad=0),
        generator=np.random.default_rng(0),
    )
    with open_oracle(TINY, exported.ports.fetch(exported.student), probes, lengths=CONFIG.lengths, primary=CONFIG.primary) as opened:
        yield opened
