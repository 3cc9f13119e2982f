"""The engine over an exported student, held against the student itself."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from kd.errors import DigestMismatchError, UsageError
from kd.export.functions import ONNX_PROGRAM
from kd.models.grammar import TokenGrammar, tool_call_grammar
from kd.models.student import load_student
from kd.models.teacher import Sampling
from kd.models.tokenizer import ChatTokenizer
from kd.runtime.generate import generate
from kd.runtime.ort_engine import OrtEngine
from kd.tool_use.calls import parse_calls
from tests.evaluation.materials import STUDENT_SEED, make_export_folder, make_tokenizer
from tests.evaluation.samples import make_samples
from tests.runtime.torch_engine import TorchEngine

IDS = [9, 40, 3, 77, 120, 5, 5, 200]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    make_export_folder(STUDENT_SEED, folder)
    return folder


@pytest.fixture(scope="module")
def engine(folder: Path) -> OrtEngine:
    return OrtEngine(folder, threads=1)


@pytest.fixture(scope="module")
def reference(folder: Path) -> TorchEngine:
    return TorchEngine(load_student(folder), model="reference")


def test_logits_are_the_students(engine: OrtEngine, reference: TorchEngine) -> None:
    """After the same tokens the exported program gives the logits of the student in torch."""
    np.testing.assert_allclose(engine.open_session().extend(IDS), reference.open_session().extend(IDS), atol=1e-5)


def test_pieces_give_what_the_whole_gives(engine: OrtEngine) -> None:
    """Tokens that enter one by one, in pieces or at once end in the same logits: the cache is live and the mask right."""
    whole = engine.open_session().extend(IDS)
    single, pieces = engine.open_session(), engine.open_session()
    for index in IDS:
        after_single = single.extend([index])
    pieces.extend(IDS[:3])
    np.testing.assert_allclose(after_single, whole, atol=1e-5)
    np.testing.assert_allclose(pieces.extend(IDS[3:]), whole, atol=1e-5)


def test_a_truncated_session_forgets(engine: OrtEngine) -> None:
    """After truncation a session answers as if the tokens had never been added."""
    session = engine.open_session()
    session.extend(IDS)
    session.truncate(3)
    assert session.length == 3
    np.testing.assert_allclose(session.extend(IDS[3:5]), engine.open_session().extend(IDS[:5]), atol=1e-5)
    with pytest.raises(ValueError, match="cannot be cut"):
        session.truncate(99)


def test_a_session_refuses_what_does_not_fit(engine: OrtEngine) -> None:
    """No token at all, or more than the context holds, is refused before anything is computed."""
    for ids in ([], [1] * (engine.context_tokens + 1)):
        with pytest.raises(ValueError, match="cannot follow"):
            engine.open_session().extend(ids)


def test_both_engines_write_the_same_text(engine: OrtEngine, reference: TorchEngine) -> None:
    """Greedy decoding through the exported program writes what the student writes."""
    tokenizer, sampling = make_tokenizer(), Sampling(temperature=0.0, max_tokens=24)
    records = [generate(one, tokenizer, IDS, sampling=sampling, stops_at_eos=False) for one in (engine, reference)]
    assert records[0].output_ids == records[1].output_ids
    assert (records[0].engine.kind, records[1].engine.kind) == ("ort", "torch")


def test_a_grammar_gives_a_whole_call(engine: OrtEngine) -> None:
    """Untaught weights under the grammar of a sample's tools write one call of one of them."""
    (sample,) = make_samples(1)
    tokenizer = make_tokenizer()
    text = tool_call_grammar(sample.tools, mode="grounded", context=sample.messages[-1].content)
    prompt_ids = tokenizer.encode_chat(sample.chat, add_generation_prompt=True)
    grammar = TokenGrammar(tokenizer, text).start()
    record = generate(engine, tokenizer, prompt_ids, sampling=Sampling(temperature=0.0, max_tokens=140), grammar=grammar)
    calls, malformed = parse_calls(record.text)
    assert (record.finish, len(calls), malformed) == ("grammar_end", 1, ())
    assert calls[0].name in {tool.name for tool in sample.tools}
    assert record.num_forced_tokens > 10


def test_an_altered_program_is_refused(folder: Path, tmp_path: Path) -> None:
    """A program that is not the bytes which the contract names is not run."""
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    program = copy / ONNX_PROGRAM
    program.write_bytes(program.read_bytes() + b"\0")
    with pytest.raises(DigestMismatchError, match=r"portable\.onnx"):
        OrtEngine(copy, threads=1)


def test_a_folder_without_contract_is_refused(tmp_path: Path) -> None:
    """A folder that is no export is refused with what was expected."""
    ChatTokenizer.save(make_tokenizer(), tmp_path)
    with pytest.raises(UsageError, match=r"no contract\.json"):
        OrtEngine(tmp_path, threads=1)
