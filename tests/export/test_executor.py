"""The export stage on a small student: what it hands over, that it measured it, and that it does the same again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
import torch
from attrs import evolve as replace
from safetensors.torch import load_file, save_file

from kd.artifacts import artifact_of
from kd.dataset.shards import write_dataset
from kd.errors import StageError
from kd.evidence import measurements_from_json
from kd.export.events import (
    ENTRIES,
    ExportStarted,
    HfExported,
    InvariantChecked,
    OnnxExported,
    ParityMeasured,
    ProgramExported,
    TwinVerified,
)
from kd.export.executor import execute
from kd.export.functions import plan_functions
from kd.export.machine import STAGE, RecordTwin, SealExport
from kd.export.onnx_graph import write_onnx
from kd.export.states import Basis, ExportHf, ExportProgram, Seal, VerifyTwin
from kd.export.torch_program import export_function
from kd.models.contract import WEIGHTS_FILE
from kd.models.programs import program_to_bytes
from kd.stage import Wish
from ledger.decider import fold
from tests.dataset.rows import ORIGIN, sample
from tests.export.conftest import CONFIG, Exported
from tests.export.students import TINY, keep_student, write_student
from tests.fakes import Teller, make_ports


def test_the_stage_hands_over_export_hf_and_measurements(exported: Exported) -> None:
    """A finished export is a folder of programs, a Hugging Face folder, and what was measured on both."""
    assert [artifact.kind for artifact in exported.outputs] == ["export", "hf", "measurements.export"]
    assert [file.path for file in exported.outputs[0].files] == [
        "contract.json",
        "onnx/portable.onnx",
        "onnx/weights.safetensors",
        "programs/decode_32.pt2",
        "programs/prefill_32.pt2",
        "programs/verify4_32.pt2",
        "tokenizer.json",
        "tokenizer_config.json",
        "weights.safetensors",
    ]


def test_weights_are_stored_once(exported: Exported) -> None:
    """Checkpoint, programs, ONNX graph and Hugging Face folder share one blob."""
    export, hf = exported.outputs[0], exported.outputs[1]
    blobs = {exported.student.file(WEIGHTS_FILE), export.file(WEIGHTS_FILE), export.file(f"onnx/{WEIGHTS_FILE}")}
    assert blobs == {hf.file("model.safetensors")}


def test_every_piece_was_measured_before_it_was_recorded(exported: Exported) -> None:
    """Each fact follows its own parity, and every parity passed on enough positions."""
    facts = (TwinVerified, ProgramExported, OnnxExported, HfExported)
    kinds = [type(event) for event in exported.events if isinstance(event, (ParityMeasured, *facts))]
    assert kinds == [
        ParityMeasured,
        TwinVerified,
        *[ParityMeasured, ProgramExported] * 3,
        ParityMeasured,
        OnnxExported,
        ParityMeasured,
        HfExported,
    ]
    parities = [event for event in exported.events if isinstance(event, ParityMeasured)]
    assert [parity.candidate for parity in parities] == ["twin", "prefill_32", "decode_32", "verify4_32", "onnx", "hf"]
    assert all(parity.status == "pass" and not parity.findings for parity in parities)


def test_every_function_was_mutated(exported: Exported) -> None:
    """All invariants that apply to a function were checked on it, in its own engine, and held."""
    found = {(event.function, event.invariant) for event in exported.events if isinstance(event, InvariantChecked) and event.is_held}
    past = ("kv_live", "padding", "position", "shapes")
    expected = {("prefill_32", name) for name in ("causality", "padding", "position", "shapes")}
    expected |= {("decode_32", name) for name in past}
    expected |= {(function, name) for function in ("verify4_32", "onnx") for name in (*past, "causality")}
    assert found == expected


def test_measurements_are_what_the_events_say(exported: Exported) -> None:
    """The artifact of measurements repeats those of the events, in order."""
    artifact = artifact_of(exported.outputs, "measurements.export")
    measured = measurements_from_json(exported.ports.read_bytes(artifact.files[0].blob))
    assert measured == tuple(m for event in exported.events if isinstance(event, ParityMeasured) for m in event.measurements)
    assert {m.suite for m in measured} == {"parity"}
    assert min(m.value for m in measured if m.metric == "psnr_db" and m.value is not None) >= 100


def test_the_contract_names_the_bytes_that_were_stored(exported: Exported) -> None:
    """Programs and graph lie under the digests of the contract, and it names the student."""
    export = exported.outputs[0]
    assert {function.sha256 for function in exported.contract.functions} == {
        export.file(function.program).sha256 for function in exported.contract.functions
    }
    assert exported.contract.model == exported.student.digest
    assert exported.contract.arch == TINY


def test_every_work_done_again_gives_equal_facts(exported: Exported) -> None:
    """A work that was interrupted after it had finished gives the same digests when it is done again."""
    basis = Basis(config=CONFIG, inputs=(exported.student,), seed=7)
    works = (VerifyTwin(basis=basis), ExportProgram(basis=basis, function="prefill_32"), ExportHf(basis=basis))
    again = [execute(work, exported.ports, Teller(STAGE)) for work in works]
    facts = [
        replace(fact, seconds=0.0) if hasattr(fact, "seconds") else fact for command in again if (fact := getattr(command, "fact", None))
    ]
    known = [replace(event, seconds=0.0) if hasattr(event, "seconds") else event for event in exported.events]
    assert len(facts) == len(works)
    assert all(fact in known for fact in facts)


def test_another_process_with_another_hash_seed_gives_equal_bytes(exported: Exported, tmp_path: Path) -> None:
    """Programs and graph do not depend on the process that traced them."""
    write_student(tmp_path)
    environment = {**os.environ, "PYTHONHASHSEED": "77", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path.cwd())}
    code = f"import sys; from pathlib import Path; from {__name__} import trace; trace(Path(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in ("programs/verify4_32.pt2", "onnx/portable.onnx"):
        assert (tmp_path / Path(name).name).read_bytes() == (exported.folder / name).read_bytes(), name


def trace(folder: Path) -> None:
    """Write one program and the graph of the student in `folder` beside its weights."""
    plan = plan_functions(CONFIG)[-1]
    (folder / f"{plan.name}.pt2").write_bytes(program_to_bytes(export_function(TINY, plan)))
    write_onnx(TINY, load_file(folder / WEIGHTS_FILE), folder / "portable.onnx", opset=CONFIG.opset)


def test_no_file_tells_where_or_when_it_was_made(exported: Exported) -> None:
    """Neither paths nor stack traces nor dates lie in what is handed over."""
    for file in exported.outputs[0].files:
        data = (exported.folder / file.path).read_bytes()
        if file.path.endswith((".pt2", ".onnx")):
            assert b"stack_trace" not in data
            assert b"site-packages" not in data
            assert str(Path.cwd()).encode() not in data
            assert b".py" not in data


def test_the_graph_is_opset_23_with_its_own_operators(exported: Exported) -> None:
    """Attention and RMSNorm are single operators, sizes are called T, P and S, and large constants are checkpoint tensors."""
    model = onnx.load(str(exported.folder / "onnx/portable.onnx"), load_external_data=False)
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("Attention") == TINY.num_layers
    assert kinds.count("RMSNormalization") == 2 * TINY.num_layers + 1
    assert [(entry.domain, entry.version) for entry in model.opset_import if not entry.domain] == [("", 23)]
    sizes = {dim.dim_param for value in model.graph.input for dim in value.type.tensor_type.shape.dim if dim.dim_param}
    assert sizes == {"T", "P", "S"}
    listed = next(event.constants for event in exported.events if isinstance(event, OnnxExported))
    external = {entry.name for entry in model.graph.initializer if entry.data_location == onnx.TensorProto.EXTERNAL}
    assert external <= set(exported.contract.weights)
    assert {entry.name for entry in model.graph.initializer} - external == set(listed)


def test_the_hf_config_says_what_llama_needs(exported: Exported) -> None:
    """Shape, rotation base in both places, tied head and special tokens are those of the student."""
    folder = exported.ports.fetch(artifact_of(exported.outputs, "hf"))
    config = json.loads((folder / "config.json").read_bytes())
    assert config["model_type"] == "llama"
    assert config["rope_theta"] == config["rope_parameters"]["rope_theta"] == TINY.rope_theta
    assert (config["num_key_value_heads"], config["head_dim"], config["tie_word_embeddings"]) == (2, 8, True)
    assert config["eos_token_id"] == exported.contract.special.eos
    assert next(event.num_texts for event in exported.events if isinstance(event, HfExported)) == 1000


def test_a_stage_that_is_told_to_stop_does_no_work(exported: Exported) -> None:
    """Between two works the stage asks, and leaves."""
    work = VerifyTwin(basis=Basis(config=CONFIG, inputs=(exported.student,), seed=7))
    assert execute(work, exported.ports, Teller(STAGE, wishes=[Wish.STOP])) is None


def test_without_hf_no_folder_is_written(exported: Exported) -> None:
    """`hf: false` leaves the Hugging Face folder out, and its measurements with it."""
    started = ExportStarted(config=replace(CONFIG, hf=False), inputs=(exported.student,), seed=7)
    wanted = (ParityMeasured, TwinVerified, ProgramExported, OnnxExported)
    events = [event for event in exported.events if isinstance(event, wanted) and getattr(event, "candidate", "") != "hf"]
    work = STAGE.decider.pending(fold(STAGE.decider, [started, *events]))
    assert isinstance(work, Seal)
    command = execute(work, exported.ports, Teller(STAGE))
    assert isinstance(command, SealExport)
    assert [artifact.kind for artifact in command.outputs] == ["export", "measurements.export"]
    assert command.outputs[0] == exported.outputs[0]


@pytest.mark.parametrize(("spoil", "what"), [("nan", "NaN or infinite"), ("name", "missing, extra or of another shape")])
def test_a_broken_checkpoint_fails_at_once_and_for_good(spoil: str, what: str, tmp_path: Path) -> None:
    """Weights that are not finite, or not those of the architecture, end the stage with their names."""
    ports = make_ports(tmp_path, ENTRIES)
    folder = ports.new_folder("student")
    write_student(folder)
    weights = load_file(folder / WEIGHTS_FILE)
    if spoil == "nan":
        weights["model.norm.weight"][3] = torch.nan
    else:
        weights["model.layers.9.mlp.up_proj.weight"] = weights.pop("model.layers.1.mlp.up_proj.weight")
    save_file(weights, folder / WEIGHTS_FILE)
    work = VerifyTwin(basis=Basis(config=CONFIG, inputs=(ports.keep("student", folder),), seed=7))
    with pytest.raises(StageError, match=what) as caught:
        execute(work, ports, Teller(STAGE))
    assert not caught.value.is_retryable


def test_held_out_text_is_used_before_anything_is_drawn(tmp_path: Path) -> None:
    """With a data set among the inputs the twin is measured on its held-out samples, and the fact says on how many sequences."""
    ports = make_ports(tmp_path, ENTRIES)
    rows = [sample(prompt="x" * 40, answer=f"answer {index}", split="val" if index % 2 else "train", index=index) for index in range(8)]
    folder = ports.new_folder("dataset")
    write_dataset(folder, rows, origin=ORIGIN, dropped={})
    inputs = (keep_student(ports), ports.keep("dataset", folder))
    command = execute(VerifyTwin(basis=Basis(config=CONFIG, inputs=inputs, seed=7)), ports, Teller(STAGE))
    assert isinstance(command, RecordTwin)
    assert command.checks.problem is None
    assert command.fact.num_held_out_sequences > 0
    assert command.fact.num_held_out_sequences + command.fact.num_drawn_sequences == 16


def test_lengths_beyond_the_context_are_refused(tmp_path: Path) -> None:
    """A student cannot be exported for more tokens than it was made for."""
    ports = make_ports(tmp_path, ENTRIES)
    config = replace(CONFIG, lengths=(32, 128), primary=32)
    work = VerifyTwin(basis=Basis(config=config, inputs=(keep_student(ports),), seed=7))
    with pytest.raises(StageError, match="reaches 128, but the student's context is 96 tokens"):
        execute(work, ports, Teller(STAGE))
