"""The works of the generation stage, each run to one command."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from typing import assert_never

from kd.dataset.sample import Sample, samples_from_jsonl, samples_to_jsonl
from kd.errors import StageError
from kd.generation.asking import OpenRequest, ask
from kd.generation.commands import Command, RecordLogits, RecordProbe, RecordSamples, RecordTeacher, SealDataset, SealPlan
from kd.generation.events import PlanSealed, SamplesBuilt, TeacherBound, TeacherMade, TeacherProbed
from kd.generation.plan import Plan, build_plan, read_plan, write_plan
from kd.generation.samples import AnsweredItem, build_samples
from kd.generation.scoring import Range, capture
from kd.generation.sealing import seal
from kd.generation.states import AskTeacher, Basis, BindTeacher, BuildPlan, BuildSamples, ProbeTeacher, ScoreSamples, Seal, Work
from kd.generation.teachers import http_teacher, identity_of, licence_of, write_bound_teacher, write_made_teacher
from kd.models import tiny_teacher
from kd.models.teacher import read_reply
from kd.models.teacher_identity import read_identity
from kd.models.tokenizer import ChatTokenizer
from kd.ports import Ports
from kd.stage import Tell, Wish
from ledger.record import BlobRef

__all__ = ["execute"]


def execute(work: Work, ports: Ports, tell: Tell) -> Command | None:
    """Do `work`; None if the run wanted it to stop."""
    if tell() is not Wish.GO_ON:
        return None
    match work:
        case BindTeacher():
            return _bind(work, ports)
        case ProbeTeacher():
            return asyncio.run(_probe(work, ports))
        case BuildPlan():
            return _plan(work, ports)
        case AskTeacher():
            return asyncio.run(_ask(work, ports, tell))
        case BuildSamples():
            return _build(work, ports)
        case ScoreSamples():
            return asyncio.run(_score(work, ports, tell))
        case Seal():
            return SealDataset(fact=seal(work, _samples(work.built.samples, ports), _tokenizer(work.basis, ports), ports))
        case _:
            assert_never(work)


def _bind(work: BindTeacher, ports: Ports) -> RecordTeacher:
    started = time.monotonic()
    config = work.basis.config
    folder = ports.new_folder("teacher")
    is_made = config.teacher.model == tiny_teacher.MODEL
    if is_made:
        write_made_teacher(folder, config, work.basis.seed)
    else:
        write_bound_teacher(folder, config.teacher)
    fingerprint = read_identity(folder).fingerprint
    fact = TeacherMade if is_made else TeacherBound
    return RecordTeacher(fact=fact(teacher=ports.keep("teacher", folder), fingerprint=fingerprint, seconds=time.monotonic() - started))


async def _probe(work: ProbeTeacher, ports: Ports) -> RecordProbe:
    started = time.monotonic()
    async with http_teacher(work.basis.config.teacher, work.basis.bound_teacher, ports) as teacher:
        found = await teacher.probe()
    config = work.basis.config
    if not found.prompt_scoring:
        raise StageError(
            "probe_teacher",
            f"The teacher at {config.teacher.base_url} answers but cannot score given tokens, which the training signal needs:"
            " have it served by `kd teacher serve`, or set generation.teacher.kind to local.",
            is_retryable=True,
        )
    if config.scenarios.total and found.grammar != "lark":
        raise StageError(
            "probe_teacher",
            f"The teacher at {config.teacher.base_url} takes grammars of kind {found.grammar}, tool cards need lark:"
            " have it served by `kd teacher serve`, or set generation.scenarios.total to 0.",
            is_retryable=True,
        )
    fact = TeacherProbed(
        served_model=teacher.identity().model,
        logprobs=found.logprobs,
        has_prompt_scoring=found.prompt_scoring,
        grammar=found.grammar,
        max_context_tokens=found.max_context_tokens,
        seconds=time.monotonic() - started,
    )
    return RecordProbe(fact=fact)


def _plan(work: BuildPlan, ports: Ports) -> SealPlan:
    plan = build_plan(work.basis.config, identity_of(work.basis.bound_teacher, ports), work.basis.seed)
    fact = PlanSealed(
        plan=ports.keep_text(write_plan(plan)),
        num_requests=len(plan.keys),
        num_items=len(plan.items),
        num_distinct_prompts=len({item.messages for item in plan.items}),
    )
    return SealPlan(keys=plan.keys, fact=fact)


async def _ask(work: AskTeacher, ports: Ports, tell: Tell) -> Command | None:
    items = {item.key: item for item in _read_plan(work.plan, ports).items if item.key}
    requests = [OpenRequest(key=key, request=items[key].request, num_attempts=work.num_attempts[key]) for key in work.keys]
    config = work.basis.config.teacher
    async with http_teacher(config, work.basis.bound_teacher, ports) as teacher:
        return await ask(requests, teacher, ports, tell, max_concurrency=config.max_concurrency)


def _build(work: BuildSamples, ports: Ports) -> RecordSamples:
    answered = []
    for item in _read_plan(work.plan, ports).items:
        blob = work.replies.get(item.key)
        answered.append(
            AnsweredItem(
                item=item,
                reply=None if blob is None else read_reply(ports.read_text(blob)),
                reply_sha256="" if blob is None else blob.sha256,
                rejection=work.rejections.get(item.key, ""),
            )
        )
    licence = licence_of(work.basis.bound_teacher, ports)
    tokenizer = _tokenizer(work.basis, ports)
    built = build_samples(answered, work.basis.config, licence=licence, tokenizer=tokenizer, redacted=ports.redacted)
    _check_enough(built.samples, built.dropped)
    fact = SamplesBuilt(
        samples=ports.keep_text(samples_to_jsonl(built.samples)),
        num_samples=len(built.samples),
        counts=dict(sorted(Counter(f"{sample.split}/{sample.kind}" for sample in built.samples).items())),
        dropped=dict(built.dropped),
        num_right_calls=built.num_right_calls,
        num_asked_calls=built.num_asked_calls,
    )
    return RecordSamples(fact=fact)


async def _score(work: ScoreSamples, ports: Ports, tell: Tell) -> RecordLogits | None:
    samples = _samples(work.samples, ports)[work.first : work.first + work.num_samples]
    part = Range(first=work.first, samples=samples)
    basis = work.basis
    async with http_teacher(basis.config.teacher, basis.bound_teacher, ports) as teacher:
        fact = await capture(part, teacher, _tokenizer(basis, ports), basis.config.logits, basis.seed, ports, tell)
    return None if fact is None else RecordLogits(fact=fact)


def _check_enough(samples: tuple[Sample, ...], dropped: Mapping[str, int]) -> None:
    missing = [split for split in ("train", "test") if not any(sample.split == split for sample in samples)]
    if missing:
        raise StageError(
            "build_samples",
            f"No sample is left for the split {missing[0]}; dropped were {', '.join(f'{n} {why}' for why, n in dropped.items()) or 'none'}:"
            " ask for more, raise sampling.max_tokens, or set sampling.on_truncation to keep.",
            is_retryable=False,
        )


def _samples(blob: BlobRef, ports: Ports) -> tuple[Sample, ...]:
    return samples_from_jsonl(ports.read_bytes(blob))


def _read_plan(blob: BlobRef, ports: Ports) -> Plan:
    return read_plan(ports.read_text(blob))


def _tokenizer(basis: Basis, ports: Ports) -> ChatTokenizer:
    return ChatTokenizer.load(ports.fetch(basis.bound_teacher))
