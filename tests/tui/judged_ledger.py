"""A small ledger with two runs that generated, evaluated and judged something; its texts hold what a terminal must not obey."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from kd.artifacts import Artifact, FileRef
from kd.dataset.sample import Decoding, Labels, Message, Sample, Segment, Source, make_sample, samples_to_jsonl
from kd.dataset.tools import Tool, ToolCall, call_text
from kd.evaluation.call_scores import score_answer
from kd.evaluation.events import EvaluationPlanned, EvaluationStarted, ItemEvaluated, MeasurementRecorded, ScorersSelfTested, SuitePlan
from kd.evaluation.measures import measure
from kd.events import REGISTRY
from kd.evidence import GateRule, GateSet, evaluate_gate
from kd.generation.events import (
    AttemptEnded,
    AttemptStarted,
    GenerationStarted,
    PlanSealed,
    RequestRejected,
    RequestsPlanned,
    SamplesBuilt,
    TeacherBound,
    TeacherProbed,
    TokenUsage,
)
from kd.governance.config import GovernanceConfig
from kd.governance.events import EvidenceAdmitted, GateEvaluated, GovernanceStarted, VerdictIssued
from kd.governance.verdict import Evidence, derive
from ledger import create_ledger
from ledger.segments import FileStore
from ledger.testing import FixedClock
from tests.tui.ledgers import open_run_rows
from tests.views.examples import START_MS, config, planned, step

__all__ = ["FIRST", "HOSTILE", "SECOND", "write_judged_ledger"]

FIRST, SECOND = "first", "second"
HOSTILE = "\x1b[31mred\x1b[0m \u202eback"
"""Colours the terminal and turns the line around, if it is let through."""
_TOOL = Tool(
    name="weather",
    description="weather of a city",
    parameters={"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)
_CITIES = ("Oslo", "Bergen", "Prague", "Kyiv")
_GATES = GateSet(
    name="small",
    gates=(
        GateRule(id="tools.valid", metric="call_validity", suite="tool_use", slice="constrained", rule=">=", theta=0.9, min_n=2),
        GateRule(id="tools.right", metric="right_call", suite="tool_use", slice="constrained", rule=">=", theta=0.9, min_n=2),
        GateRule(id="tools.many", metric="right_call", suite="tool_use", slice="free", rule=">=", theta=0.5, min_n=60, level="warn"),
    ),
)
_PROBED = TeacherProbed(served_model="m", logprobs="full", has_prompt_scoring=True, grammar="lark", max_context_tokens=None, seconds=0.1)


def write_judged_ledger(path: Path) -> None:
    """Two runs: the second one answers one item better and one worse than the first."""
    with create_ledger(path, origin="example.org/test", registry=REGISTRY, clock=FixedClock(START_MS)) as store:
        _write_run(store, FIRST, seed=1, right={"free": (), "constrained": ("Oslo", "Bergen", "Prague")})
        _write_run(store, SECOND, seed=2, right={"free": ("Kyiv",), "constrained": ("Oslo", "Bergen", "Kyiv")})


def _write_run(store: FileStore, run: str, *, seed: int, right: dict[str, tuple[str, ...]]) -> None:
    stream = f"run/{run}"
    store.append(stream, [planned(run, config(steps=10 * seed))[1]])
    samples = [_sample(city) for city in _CITIES]
    _write_generation(store, f"{stream}/generation", samples)
    weights = store.blobs.put_bytes(b"weights")
    before = [event for stage, event, _ in open_run_rows(run, weights, 0.0) if stage == f"{stream}/training"]
    store.append(f"{stream}/training", [*before, *(step(number, number, loss=3.0 / number)[1] for number in range(1, 6 * seed))])
    items = _write_evaluation(store, f"{stream}/evaluation", samples, right)
    _write_governance(store, f"{stream}/governance", items)


def _sample(city: str) -> Sample:
    asked = city in {"Prague", "Kyiv"}
    call = ToolCall(name="weather", arguments={"city": city})
    return make_sample(
        kind="tool_use",
        split="test",
        messages=(Message(role="system", content="weather"), Message(role="user", content=f"What is the weather in {city}? {HOSTILE}")),
        tools=(_TOOL,),
        segments=(Segment(kind="tool_call", text=call_text(call)), Segment(kind="eos", text="")),
        gold_calls=(call,),
        labels=Labels(scenario="web_search", structure="flat", index=len(city), seed=1),
        source=Source(
            origin="teacher" if city == "Prague" else "scenario", request_key=city if city == "Prague" else "", licence="CC0-1.0"
        ),
        decoding=Decoding(finish="stop" if asked else "known"),
    )


def _write_generation(store: FileStore, stream: str, samples: Sequence[Sample]) -> None:
    """Prague is taught by the teacher, Kyiv is corrected, Rome is refused; the others are not asked."""
    items = [
        {
            "key": city,
            "kind": "tool_use",
            "split": "test",
            "labels": {"scenario": "web_search"},
            "messages": [{"role": message.role, "content": message.content} for message in _sample(city).messages],
            "tools": [{"name": "weather"}],
        }
        for city in ("Prague", "Kyiv", "Rome")
    ]
    plan = store.blobs.put_bytes(json.dumps({"items": items}).encode())
    reply = store.blobs.put_bytes(json.dumps({"text": f"I do not know {HOSTILE}"}).encode())
    teacher = Artifact(kind="teacher", files=(FileRef(path="f", blob=reply),))
    store.append(stream, [GenerationStarted(config=config().generation, inputs=(), seed=1)])
    store.append(stream, [TeacherBound(teacher=teacher, fingerprint="f", seconds=1.0), _PROBED])
    store.append(stream, [RequestsPlanned(keys=("Prague", "Kyiv", "Rome"))])
    store.append(stream, [PlanSealed(plan=plan, num_requests=3, num_items=5, num_distinct_prompts=5)])
    for city in ("Prague", "Kyiv"):
        usage = TokenUsage(prompt_tokens=12, output_tokens=34)
        ended = AttemptEnded(request_key=city, attempt=0, outcome="accepted", reply=reply, usage=usage, num_sends=1, seconds=0.5)
        store.append(stream, [AttemptStarted(request_key=city, attempt=0), ended])
    store.append(stream, [RequestRejected(request_key="Rome", kind="malformed", reason=f"no JSON {HOSTILE}", num_attempts=3)])
    built = store.blobs.put_bytes(samples_to_jsonl(sorted(samples, key=lambda sample: sample.id)))
    counts, dropped = {"test/tool_use": 4}, {"rejected_malformed": 1}
    store.append(stream, [SamplesBuilt(samples=built, num_samples=4, counts=counts, dropped=dropped, num_right_calls=1, num_asked_calls=2)])


def _write_evaluation(
    store: FileStore, stream: str, samples: Sequence[Sample], right: dict[str, tuple[str, ...]]
) -> tuple[ItemEvaluated, ...]:
    by_city = dict(zip(_CITIES, samples, strict=True))
    plan = SuitePlan(suite="tool_use", arms=tuple(right), item_ids=tuple(sample.id for sample in samples))
    store.append(stream, [EvaluationStarted(config=config().evaluation, inputs=(), seed=1), EvaluationPlanned(suites=(plan,))])
    store.append(stream, [ScorersSelfTested(num_checks=4)])
    items = []
    for arm, cities in right.items():
        for city, sample in by_city.items():
            answer = call_text(ToolCall(name="weather", arguments={"city": city if city in cities else "Nowhere"}))
            text = answer if arm == "constrained" else f"{answer}\n{HOSTILE}"
            transcript = {"schema": "kd.transcript/1", "arm": arm, "text": text, "finish": "stop", "output_ids": [1, 2]}
            items.append(
                ItemEvaluated(
                    suite="tool_use",
                    arm=arm,
                    item_id=sample.id,
                    subject="5" * 64,
                    outcome="completed",
                    scores=score_answer(text, sample),
                    transcript=store.blobs.put_bytes(json.dumps(transcript).encode()),
                )
            )
    store.append(stream, items)
    store.append(stream, [MeasurementRecorded(measurement=measurement) for measurement in measure(items)])
    return tuple(items)


def _write_governance(store: FileStore, stream: str, items: tuple[ItemEvaluated, ...]) -> None:
    measurements = measure(items)
    settings = GovernanceConfig(gates=_GATES)
    evidence = Evidence(kind="measurements.evaluation", digest="e" * 64, num_measurements=len(measurements))
    results = [evaluate_gate(gate, measurements) for gate in _GATES.gates]
    verdict = derive(purpose="experiment", candidate=(), gate_set=_GATES, results=results, admitted=[evidence], refused=[])
    store.append(stream, [GovernanceStarted(config=settings, inputs=(), seed=1), EvidenceAdmitted(evidence=evidence)])
    store.append(stream, [GateEvaluated(result=result) for result in results])
    store.append(stream, [VerdictIssued(verdict=verdict)])
