"""The works of the stage against a real server on loopback: one data set, however often it is interrupted."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kd.artifacts import artifact_of
from kd.dataset.shards import SPLITS, read_dataset
from kd.errors import StageError, UsageError
from kd.generation.commands import RecordTeacher, StartGeneration
from kd.generation.config import GenerationConfig, LogitsConfig, PromptsConfig, SamplingConfig, ScenariosConfig, TeacherConfig, ToolsConfig
from kd.generation.events import ENTRIES, AttemptEnded, AttemptStarted, LogitsCaptured, PlanSealed, ReplyReused, SamplesBuilt
from kd.generation.executor import execute
from kd.generation.machine import STAGE
from kd.generation.plan import read_plan
from kd.generation.states import BindTeacher, Probing
from kd.models.local_teacher import LocalTeacher
from kd.models.logit_store import SignalStore
from kd.models.rendering import tokenise_sample
from kd.models.server import running_server
from kd.models.teacher import TeacherUnavailableError, read_reply
from kd.models.tokenizer import ChatTokenizer
from kd.ports import Ports
from kd.stage import Completed, Wish
from ledger.redaction import Redactor
from tests.fakes import Teller, make_ports, run_stage
from tests.models.serving import FakeEndpoint, completion_body, write_small_teacher


class _Background:
    """An event loop in a thread of its own, so that executors can run theirs."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()

    def enter(self, context: Any) -> str:
        return str(asyncio.run_coroutine_threadsafe(context.__aenter__(), self.loop).result(60))

    def leave(self, context: Any) -> None:
        asyncio.run_coroutine_threadsafe(context.__aexit__(None, None, None), self.loop).result(60)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


@pytest.fixture(scope="module")
def background() -> Iterator[_Background]:
    """A loop for servers."""
    one = _Background()
    yield one
    one.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small teacher."""
    return write_small_teacher(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def served(background: _Background, folder: Path) -> Iterator[GenerationConfig]:
    """A config whose teacher answers."""
    server = running_server(LocalTeacher(folder, threads=1))
    yield _config(folder, background.enter(server))
    background.leave(server)


def _config(folder: Path, base_url: str, **teacher: Any) -> GenerationConfig:
    return GenerationConfig(
        teacher=TeacherConfig(kind="http", model=str(folder), base_url=base_url, threads=1, max_concurrency=3, **teacher),
        sampling=SamplingConfig(max_tokens=6),
        prompts=PromptsConfig(total=7, val=1, test=1),
        scenarios=ScenariosConfig(total=7, val=1, test=2),
        tools=ToolsConfig(shots=0, style="terse", answers="corrected", max_tokens=12),
        logits=LogitsConfig(k=4, s=2),
    )


def _start(config: GenerationConfig, seed: int = 5) -> StartGeneration:
    return StartGeneration(config=config, inputs=(), seed=seed)


def _digests(state: Any) -> dict[str, str]:
    assert isinstance(state, Completed)
    return {artifact.kind: artifact.digest for artifact in state.outputs}


@pytest.fixture(scope="module")
def finished(served: GenerationConfig, tmp_path_factory: pytest.TempPathFactory) -> tuple[Ports, Any, tuple[Any, ...]]:
    """Ports, state and events of an undisturbed stage."""
    ports = make_ports(tmp_path_factory.mktemp("run"), ENTRIES)
    state, events = run_stage(STAGE, execute, _start(served), ports)
    return ports, state, events


def test_the_stage_hands_over_teacher_data_set_and_signal(finished: tuple[Ports, Any, tuple[Any, ...]]) -> None:
    """Every supervised token of every sample has its distribution, under the tokenizer that the data set names."""
    ports, state, events = finished
    assert set(_digests(state)) == {"teacher", "dataset", "signal"}
    tokenizer = ChatTokenizer.load(ports.fetch(artifact_of(state.outputs, "teacher")))
    dataset = read_dataset(ports.fetch(artifact_of(state.outputs, "dataset")))
    signal = ports.fetch(artifact_of(state.outputs, "signal"))
    assert dataset.manifest.origin.tokenizer == tokenizer.digest
    num_tokens = 0
    for split in SPLITS:
        store = SignalStore.open(signal, split)
        assert store.header.dataset == dataset.manifest.digest
        for sample in dataset.split(split):
            tokenised = tokenise_sample(tokenizer, sample)
            rows = store.row(sample.id, tokenised.ids)
            assert len(rows.tail_mass_N) == len(tokenised.supervised_positions) > 0
            num_tokens += len(rows.tail_mass_N)
    assert num_tokens == sum(event.num_tokens for event in events if isinstance(event, LogitsCaptured))


def test_splits_are_what_the_config_says(finished: tuple[Ports, Any, tuple[Any, ...]]) -> None:
    """Tool items of the test split are as many as were asked for, and their target is the right call."""
    ports, state, _ = finished
    dataset = read_dataset(ports.fetch(artifact_of(state.outputs, "dataset")))
    assert dataset.manifest.counts["test/tool_use"] == 2
    assert dataset.manifest.counts["train/tool_use"] == 4
    tasks = {split: {sample.messages[-1].content for sample in dataset.split(split)} for split in SPLITS}
    assert not tasks["train"] & tasks["test"]
    assert all(sample.gold_calls for sample in dataset.test if sample.kind == "tool_use")


def test_the_stream_counts_what_was_asked(finished: tuple[Ports, Any, tuple[Any, ...]]) -> None:
    """Held-out cards need no request; each other item was sent once."""
    _, _, events = finished
    (plan,) = (event for event in events if isinstance(event, PlanSealed))
    (built,) = (event for event in events if isinstance(event, SamplesBuilt))
    assert (plan.num_items, plan.num_requests) == (14, 12)
    assert sum(isinstance(event, AttemptStarted) for event in events) == 12
    assert built.num_asked_calls == 5


def test_an_interrupted_stage_ends_in_the_same_digests(
    served: GenerationConfig, finished: tuple[Ports, Any, tuple[Any, ...]], tmp_path: Path
) -> None:
    """Stopped again and again, at once or in good order, it hands over the same bytes and repeats no recorded request."""
    ports = make_ports(tmp_path, ENTRIES)
    wishes = [wish for count in (1, 2, 4, 5, 7, 9) for wish in (*[Wish.GO_ON] * count, Wish.STOP_NOW if count % 2 else Wish.STOP)]
    tell = Teller(STAGE, wishes=wishes)
    tell.handle(_start(served))
    num_stops = 0
    while (work := STAGE.decider.pending(tell.state)) is not None:
        command = execute(work, ports, tell)
        num_stops += command is None
        if command is not None:
            tell.handle(command)
    assert num_stops >= 3
    assert _digests(tell.state) == _digests(finished[1])


def test_another_run_of_the_ledger_asks_nothing(served: GenerationConfig, tmp_path: Path) -> None:
    """Equal requests are answered from the ledger, and the data set is the same."""
    ports = make_ports(tmp_path, ENTRIES)
    ended = []
    for stream in ("run/a", "run/b"):
        tell = Teller(STAGE, store=ports.store, stream=stream)
        tell.handle(_start(served))
        while (work := STAGE.decider.pending(tell.state)) is not None:
            command = execute(work, ports, tell)
            assert command is not None
            tell.handle(command)
        ended.append(tell)
    assert not any(isinstance(event, AttemptStarted) for event in ended[1].events)
    assert sum(isinstance(event, ReplyReused) for event in ended[1].events) == 12
    assert _digests(ended[0].state) == _digests(ended[1].state)


def test_an_endpoint_that_cannot_score_is_refused_in_one_sentence(background: _Background, folder: Path, tmp_path: Path) -> None:
    """A plain OpenAI-compatible endpoint gives text and no signal: the stage says so before anything is asked."""
    endpoint = FakeEndpoint(404, completion_body("fine"), completion_body("fine"), completion_body("fine"))
    running = endpoint.running()
    base_url = background.enter(running)
    try:
        with pytest.raises(StageError, match="cannot score given tokens") as caught:
            run_stage(STAGE, execute, _start(_config(folder, base_url)), make_ports(tmp_path, ENTRIES))
    finally:
        background.leave(running)
    assert caught.value.step == "probe_teacher"


def test_an_unreachable_teacher_pauses_the_run(folder: Path, tmp_path: Path) -> None:
    """Nothing listens at the address: the cause is named, and the run can go on later."""
    with pytest.raises(TeacherUnavailableError, match="cannot be reached") as caught:
        run_stage(STAGE, execute, _start(_config(folder, "http://127.0.0.1:9", max_attempts=1)), make_ports(tmp_path, ENTRIES))
    assert caught.value.cause == "teacher_unavailable"


def test_a_teacher_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    """A wrong path is answered with what was expected."""
    config = GenerationConfig(teacher=TeacherConfig(model=str(tmp_path / "nowhere")))
    with pytest.raises(UsageError, match="expected smollm2, tiny or a model folder"):
        run_stage(STAGE, execute, _start(config), make_ports(tmp_path, ENTRIES))


def test_a_bound_folder_is_copied_without_its_place(folder: Path, tmp_path: Path) -> None:
    """The teacher artifact holds model and tokenizer, its licence, and no path of this machine."""
    ports = make_ports(tmp_path, ENTRIES)
    tell = Teller(STAGE)
    tell.handle(_start(_config(folder, "http://127.0.0.1:9")))
    work = STAGE.decider.pending(tell.state)
    assert isinstance(work, BindTeacher)
    first, again = execute(work, ports, tell), execute(work, ports, tell)
    assert isinstance(first, RecordTeacher)
    assert isinstance(again, RecordTeacher)
    assert first.fact.teacher == again.fact.teacher
    text = (ports.fetch(first.fact.teacher) / "teacher.json").read_text()
    assert '"licence":"Apache-2.0"' in text
    assert str(folder.parent) not in text
    tell.handle(first)
    assert isinstance(tell.state, Probing)


def test_a_data_set_without_training_rows_is_refused(served: GenerationConfig, tmp_path: Path) -> None:
    """If every reply is dropped the stage fails with the counted reasons instead of sealing nothing."""
    config = GenerationConfig(
        teacher=served.teacher,
        sampling=SamplingConfig(max_tokens=2, on_truncation="reject", temperature=0.0),
        prompts=PromptsConfig(total=3, val=1, test=1),
        scenarios=ScenariosConfig(total=0, val=0, test=0),
        tools=ToolsConfig(style="terse"),
    )
    with pytest.raises(StageError, match="No sample is left for the split train; dropped were 3 empty"):
        run_stage(STAGE, execute, _start(config), make_ports(tmp_path, ENTRIES))


def test_secrets_in_prompts_and_replies_reach_neither_blob_nor_event(
    served: GenerationConfig, finished: tuple[Ports, Any, tuple[Any, ...]], tmp_path: Path
) -> None:
    """What is secret is in no text that the stage keeps, and an interrupted stage still ends in the same digests."""
    plain, _, events = finished
    (planned,) = (event for event in events if isinstance(event, PlanSealed))
    items = read_plan(plain.read_bytes(planned.plan)).items
    reply = next(event.reply for event in events if isinstance(event, AttemptEnded) and event.reply is not None)
    said = read_reply(plain.read_bytes(reply)).text
    secrets = {"PROMPT": items[-1].messages[-1].content[:24], "TASK": items[0].messages[-1].content[-20:], "REPLY": said[:9]}
    assert all(len(secret) >= 8 for secret in secrets.values())
    digests = []
    for name, wishes in (("whole", []), ("cut", [Wish.GO_ON, Wish.GO_ON, Wish.GO_ON, Wish.STOP_NOW, Wish.GO_ON, Wish.STOP])):
        ports = make_ports(tmp_path / name, ENTRIES)
        ports.redactor = Redactor(secrets)
        tell = Teller(STAGE, wishes=wishes)
        tell.handle(_start(served))
        while (work := STAGE.decider.pending(tell.state)) is not None:
            if (command := execute(work, ports, tell)) is not None:
                tell.handle(command)
        digests.append(_digests(tell.state))
        model = {file.blob.sha256 for file in artifact_of(tell.state.outputs, "teacher").files}
        kept = [path.read_bytes() for path in ports.blobs.files() if path.name not in model]
        for secret in secrets.values():
            assert not any(secret.encode() in data or json.dumps(secret)[1:-1].encode() in data for data in kept)
            assert secret not in repr(tell.events)
        assert any(b"[redacted:PROMPT]" in data for data in kept)
    assert digests[0] == digests[1] != _digests(finished[1])
