"""The evaluation stage over a small student, teacher signal and export."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from attrs import evolve as replace

from kd.artifacts import artifact_of
from kd.errors import StageError
from kd.evaluation.commands import RecordItem, StartEvaluation
from kd.evaluation.config import EvaluationConfig, LmConfig, SpeedConfig, ToolUseConfig
from kd.evaluation.events import ENTRIES, ItemEvaluated, MeasurementRecorded
from kd.evaluation.executor import execute
from kd.evaluation.machine import STAGE
from kd.evaluation.measures import measure
from kd.evaluation.states import Completed, EvaluateItems, Evaluating, Job
from kd.evidence import Measurement, measurements_from_json
from kd.models.logit_store import SignalStore, write_signal
from kd.models.tokenizer import ChatTokenizer
from kd.ports import Ports
from kd.stage import Wish
from ledger.redaction import Redactor
from tests.evaluation.materials import Materials, make_materials
from tests.fakes import Teller, make_ports, run_stage

CONFIG = EvaluationConfig(
    threads=1,
    lm=LmConfig(max_items=6),
    tool_use=ToolUseConfig(max_items=4, max_new_tokens=72, grammar="grounded"),
    speed=SpeedConfig(num_requests=11, num_warm_ups=1, num_new_tokens=3),
)


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ports]:
    ports = make_ports(tmp_path_factory.mktemp("evaluation"), ENTRIES)
    yield ports
    ports.resources.close()


@pytest.fixture(scope="module")
def materials(ports: Ports) -> Materials:
    return make_materials(ports)


@pytest.fixture(scope="module")
def ended(ports: Ports, materials: Materials) -> tuple[Completed, tuple[Any, ...]]:
    state, events = run_stage(STAGE, execute, StartEvaluation(config=CONFIG, inputs=materials.inputs, seed=3), ports)
    assert isinstance(state, Completed)
    return state, events


def found(state: Completed, metric: str, slice_: str) -> Measurement:
    return next(m for m in state.measurements if (m.metric, m.slice) == (metric, slice_))


def test_a_student_equal_to_its_teacher_has_no_divergence(ended: tuple[Completed, tuple[Any, ...]]) -> None:
    """A student with the teacher's weights has divergence zero, and a strange model has a clear one."""
    state, _ = ended
    assert found(state, "kl_nats", "student").value == pytest.approx(0.0, abs=0.01)
    untrained = found(state, "kl_nats", "untrained").value
    assert untrained is not None
    assert untrained > 0.5
    assert found(state, "nll_nats", "student").value == pytest.approx(found(state, "nll_nats", "teacher").value, rel=1e-3)


def test_a_grammar_makes_calls_valid(ended: tuple[Completed, tuple[Any, ...]]) -> None:
    """Untaught weights call nothing freely, and under the grammar every call that ends is valid."""
    state, events = ended
    assert found(state, "call_validity", "free").value == 0.0
    items = [e for e in events if isinstance(e, ItemEvaluated) and e.arm == "constrained"]
    for item in items:
        validity = next(score.total for score in item.scores if score.name == "call_validity")
        assert validity == (1.0 if item.outcome == "completed" else 0.0)


def test_measurements_follow_from_the_items_alone(ended: tuple[Completed, tuple[Any, ...]]) -> None:
    """The recorded measurements are what the pure function makes of the recorded items, and the output holds just them."""
    state, events = ended
    items = tuple(event for event in events if isinstance(event, ItemEvaluated))
    recorded = tuple(event.measurement for event in events if isinstance(event, MeasurementRecorded))
    assert measure(items) == recorded == state.measurements


def test_the_output_holds_the_measurements(ended: tuple[Completed, tuple[Any, ...]], ports: Ports) -> None:
    """The stage hands over one artifact of measurements that reads back to what was recorded."""
    state, _ = ended
    (output,) = state.outputs
    assert output.kind == "measurements.evaluation"
    assert measurements_from_json(ports.read_bytes(output.file("measurements.json"))) == state.measurements


def test_every_item_names_its_subject_and_keeps_its_transcript(
    ended: tuple[Completed, tuple[Any, ...]], ports: Ports, materials: Materials
) -> None:
    """An item carries the digest of the artifact that answered, and its transcript says which item it is of."""
    _, events = ended
    kinds = {("lm", "untrained"): "untrained_student", ("tool_use", "free"): "export", ("speed", "student"): "export"}
    for item in (event for event in events if isinstance(event, ItemEvaluated)):
        transcript = json.loads(ports.read_bytes(item.transcript))
        assert (transcript["suite"], transcript["arm"], transcript["item_id"]) == (item.suite, item.arm, item.item_id)
        if (item.suite, item.arm) in kinds:
            assert item.subject == artifact_of(materials.inputs, kinds[item.suite, item.arm]).digest


def test_a_transcript_says_no_secret(ended: tuple[Completed, tuple[Any, ...]], ports: Ports, materials: Materials) -> None:
    """What a student was made to say is kept without secrets, and so are the ids of the tokens that spell it; the scores stay."""
    item = next(event for event in ended[1] if isinstance(event, ItemEvaluated) and event.arm == "constrained")
    secret = json.loads(ports.read_bytes(item.transcript))["text"][-9:]
    job = Job(config=CONFIG, inputs=materials.inputs, seed=3)
    work = EvaluateItems(job=job, suite="tool_use", arm="constrained", item_ids=(item.item_id,))
    command = execute(work, replace(ports, redactor=Redactor({"A": secret})), Teller(STAGE))
    assert isinstance(command, RecordItem)
    transcript = json.loads(ports.read_bytes(command.item.transcript))
    assert transcript["text"].endswith("[redacted:A]")
    assert transcript["output_ids"] == []
    assert secret not in json.dumps(transcript, ensure_ascii=False)
    assert command.item.scores == item.scores


def test_a_second_run_gives_the_same_items(ended: tuple[Completed, tuple[Any, ...]], ports: Ports, materials: Materials) -> None:
    """Everything but times is a function of the inputs: run again, the stage records the same items."""
    config = replace(CONFIG, suites=("lm", "tool_use"))
    _, events = run_stage(STAGE, execute, StartEvaluation(config=config, inputs=materials.inputs, seed=3), ports)
    items = [event for event in events if isinstance(event, ItemEvaluated)]
    assert items == [event for event in ended[1] if isinstance(event, ItemEvaluated) and event.suite != "speed"]


def test_a_stopped_stage_repeats_no_item(ports: Ports, materials: Materials) -> None:
    """Told to stop, the executor returns nothing and keeps what was recorded; taken up again, it asks only what is open."""
    start = StartEvaluation(config=replace(CONFIG, suites=("lm",)), inputs=materials.inputs, seed=3)
    tell = Teller(STAGE, wishes=[Wish.GO_ON, Wish.GO_ON, Wish.STOP])
    tell.handle(start)
    for _ in range(2):
        tell.handle(execute(STAGE.decider.pending(tell.state), ports, tell))
    assert execute(STAGE.decider.pending(tell.state), ports, tell) is None
    assert isinstance(tell.state, Evaluating)
    assert len(tell.state.items) == 2
    command = execute(STAGE.decider.pending(tell.state), ports, tell)
    assert isinstance(command, RecordItem)
    tell.handle(command)
    assert len(tell.state.items) == 6


def test_another_tokenizer_is_found_out(ports: Ports, materials: Materials) -> None:
    """A student whose tokenizer is not that of the signal is refused in one sentence that says what to do."""
    folder = ports.new_folder("stranger")
    student = ports.fetch(artifact_of(materials.inputs, "student"))
    for name in ("architecture.json", "weights.safetensors"):
        (folder / name).write_bytes((student / name).read_bytes())
    config = json.loads((student / "tokenizer_config.json").read_text())
    ChatTokenizer((student / "tokenizer.json").read_text(), {**config, "chat_template": "{{ messages[0]['content'] }}"}).save(folder)
    others = [artifact for artifact in materials.inputs if artifact.kind != "student"]
    inputs = (*others, ports.keep("student", folder))
    start = StartEvaluation(config=replace(CONFIG, suites=("lm",)), inputs=inputs, seed=3)
    with pytest.raises(StageError, match="both must be the same"):
        run_stage(STAGE, execute, start, ports)


def test_a_signal_without_a_test_sample_is_found_out(ports: Ports, materials: Materials) -> None:
    """A sample that the teacher never scored stops the stage with the sample's id, instead of being left out."""
    folder = ports.new_folder("thin")
    source = ports.fetch(artifact_of(materials.inputs, "signal"))
    header = SignalStore.open(source, "test").header
    write_signal(folder, "test", (), header)
    others = [artifact for artifact in materials.inputs if artifact.kind != "signal"]
    start = StartEvaluation(config=replace(CONFIG, suites=("lm",)), inputs=(*others, ports.keep("signal", folder)), seed=3)
    with pytest.raises(StageError, match="no distributions for 6 test samples, r-"):
        run_stage(STAGE, execute, start, ports)
