"""Waivers on screen: granted by a dialog that tells every mistake, answered by whoever takes the run up, and shown until they end."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Button, Input

from kd.events import REGISTRY
from kd.run import states as s
from kd.run.events import WaiverGranted
from kd.run.waiving import grant_waiver
from ledger import open_ledger
from ledger.record import Record
from ledger.testing import FixedClock
from tests.governance.waiver_examples import DAY_MS, MITIGATION, NOW_MS, waiver
from tests.run.waiting_run import GATES, RUN, resume_run, write_waiting_run
from tests.tui.pilots import make_app, text_of, wait_for
from tui.app import KdApp
from tui.screens.waive import WaiveDialog
from tui.widgets.dialog_parts import Lines
from tui.widgets.options import Options


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    """A ledger whose run waits for waivers of `kl` and `speed`."""
    write_waiting_run(tmp_path / "ledger").close()
    return tmp_path / "ledger"


def app_on(ledger: Path, *, now_ms: int = NOW_MS, screen: int = 1, write: bool = True) -> KdApp:
    return make_app(ledger, write=write, clock=FixedClock(now_ms), run_id=RUN, first_screen=screen)


def records(ledger: Path, name: str) -> list[Record]:
    with open_ledger(ledger, registry=REGISTRY, write=False) as store:
        return list(store.scan(names=name))


def resume(ledger: Path, *, now_ms: int = NOW_MS) -> s.RunState:
    """What a new owner makes of the run."""
    with open_ledger(ledger, registry=REGISTRY, clock=FixedClock(now_ms)) as store:
        return resume_run(store, now_ms=now_ms)


def says(app: KdApp, *words: str) -> bool:
    """Whether all of this stands on the screen, wherever its lines are broken."""
    text = "".join(text_of(app).replace("│", "").split())
    return all("".join(each.split()) in text for each in words)


async def open_dialog(app: KdApp, pilot: Pilot[int]) -> WaiveDialog:
    await wait_for(pilot, lambda: app.is_settled)
    await pilot.press("W")
    await wait_for(pilot, lambda: isinstance(app.screen, WaiveDialog))
    dialog = app.screen
    assert isinstance(dialog, WaiveDialog)
    return dialog


def fill(dialog: WaiveDialog, **texts: str) -> None:
    for field, text in ({"reason": "doubled prompts", "mitigation": MITIGATION, "approves": "bo"} | texts).items():
        dialog.query_one(f"#{field}", Input).value = text


async def grant(app: KdApp, pilot: Pilot[int], gate: int, **texts: str) -> None:
    """Grant a waiver of the gate with this number, and close the dialog."""
    dialog = await open_dialog(app, pilot)
    await wait_for(pilot, lambda: dialog.focused is not None)
    for _ in range(gate):
        await pilot.press("space")
    fill(dialog, **texts)
    await wait_for(pilot, lambda: not dialog.query_one("#do", Button).disabled)
    dialog.query_one("#do", Button).press()
    await wait_for(pilot, lambda: says(app, "no owner: R resumes the run"))
    await pilot.press("escape")
    await wait_for(pilot, lambda: not isinstance(app.screen, WaiveDialog))


@pytest.mark.parametrize("screen", [1, 2, 7])
async def test_a_waiver_is_previewed_appended_and_answered(ledger: Path, screen: int) -> None:
    """The limit is what was observed; without an owner the dialog says who answers, and the header tells the answer when it comes."""
    app = app_on(ledger, screen=screen)
    async with app.run_test(size=(150, 45)) as pilot:
        dialog = await open_dialog(app, pilot)
        assert dialog.query_one("#limit", Input).value == "6.125"
        await wait_for(pilot, lambda: says(app, "The name of who approves is empty", "0 characters"))
        assert dialog.query_one("#do", Button).disabled
        fill(dialog, ends="12d")
        await wait_for(pilot, lambda: says(app, "run.waiver_granted/1", '"worst":6.125'))
        dialog.query_one("#do", Button).press()
        await wait_for(pilot, lambda: says(app, "no owner: R resumes the run, which answers"))
        await pilot.press("escape")
        await wait_for(pilot, lambda: not isinstance(app.screen, WaiveDialog))
        assert isinstance(resume(ledger), s.Rejected)
        await wait_for(pilot, lambda: "waiver ACCEPTED after" in text_of(app).splitlines()[0])
    (granted,) = records(ledger, "run.waiver_granted")
    assert granted.key is not None
    assert (granted.key[:4], granted.meta.actor) == ("tui:", "ana@host")
    assert granted.event.waiver.expires_ms == NOW_MS + 12 * DAY_MS  # type: ignore[attr-defined]
    assert len(records(ledger, "governance.waiver_accepted")) == 1


async def test_a_waiver_is_granted_by_keys_alone(ledger: Path) -> None:
    """Enter goes from field to field and at last appends; what is typed lands where it was meant, at 80 by 24 too."""
    app = app_on(ledger)
    async with app.run_test(size=(80, 24)) as pilot:
        await wait_for(pilot, lambda: app.is_settled)
        await pilot.press("W", "enter", "enter", "left", "enter", *"doubled prompts", "enter", *MITIGATION, *["enter"] * 6, *"bo", "enter")
        await wait_for(pilot, lambda: isinstance(app.focused, Button) and app.focused.id == "do")
        await pilot.press("enter")
        await wait_for(pilot, lambda: says(app, "no owner: R resumes the run, which answers"))
    (granted,) = records(ledger, "run.waiver_granted")
    waiver = granted.event.waiver  # type: ignore[attr-defined]
    assert (waiver.description, waiver.mitigation, waiver.approved_by) == ("doubled prompts", MITIGATION, "bo")
    assert (waiver.reason_code, waiver.limits[0].worst) == ("known_dataset_defect", 6.125)


async def test_the_buttons_and_the_answer_stay_in_view(ledger: Path) -> None:
    """At 80 by 24 the preview is longer than what is left: it is scrolled, and what is pressed stays where it is."""
    app = app_on(ledger)
    async with app.run_test(size=(80, 24)) as pilot:
        dialog = await open_dialog(app, pilot)
        fill(dialog, reason="doubled prompts " * 20)
        await wait_for(pilot, lambda: not dialog.query_one("#do", Button).disabled)
        assert says(app, "Append", "Back")
        assert not says(app, '"worst":6.125')
        await pilot.press("pagedown", "pagedown", "pagedown")
        await wait_for(pilot, lambda: says(app, '"worst":6.125', "Append", "Back"))
        dialog.query_one("#do", Button).press()
        await wait_for(pilot, lambda: says(app, "no owner: R resumes the run, which answers", "Close"))


async def test_texts_of_a_waiver_are_shown_not_obeyed(ledger: Path) -> None:
    """Escapes and direction marks in reasons and names, which nobody may give now, are drawn as signs."""
    evil = "\x1b[31mred\x1b[0m \u202eback"
    with open_ledger(ledger, registry=REGISTRY, clock=FixedClock(NOW_MS)) as store:
        store.append(f"run/{RUN}", [WaiverGranted(waiver=waiver("kl", 6.125, approved_by=evil, description=evil))])
    app = app_on(ledger, screen=7)
    async with app.run_test(size=(200, 45)) as pilot:
        await wait_for(pilot, lambda: app.is_settled and "approved ␛[31mred" in text_of(app))
        assert not {"\x1b", "\u202e"} & set(text_of(app))


async def test_a_previewed_waiver_is_the_one_appended(ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret among the words is in neither, so that the waiver's id is the one that was shown."""
    monkeypatch.setenv("MY_API_TOKEN", "hunter-2-hunter-2")
    app = app_on(ledger)
    async with app.run_test(size=(150, 45)) as pilot:
        dialog = await open_dialog(app, pilot)
        fill(dialog, reason="see hunter-2-hunter-2")
        await wait_for(pilot, lambda: not dialog.query_one("#do", Button).disabled)
        preview = "".join(text for text, _ in dialog.query_one("#preview", Lines).pieces)
        dialog.query_one("#do", Button).press()
        await wait_for(pilot, lambda: says(app, "no owner: R resumes the run"))
    (granted,) = records(ledger, "run.waiver_granted")
    assert "hunter" not in preview
    assert preview.partition(',"e":')[2] == granted.line.decode().partition(',"e":')[2].removesuffix("}")


async def test_a_rejected_waiver_is_told_with_its_reason(ledger: Path) -> None:
    """What the owner says against it stands in the header."""
    app = app_on(ledger, screen=7)
    async with app.run_test(size=(200, 45)) as pilot:
        await grant(app, pilot, 0, ends="1h")
        resume(ledger, now_ms=NOW_MS + DAY_MS)
        await wait_for(pilot, lambda: "waiver REJECTED: The waiver ended" in text_of(app))


async def test_mistakes_are_told_as_they_are_typed(ledger: Path) -> None:
    """Another gate offers its own limit; every mistake stands where the preview will be, and nothing can be appended."""
    app = app_on(ledger)
    async with app.run_test(size=(150, 45)) as pilot:
        dialog = await open_dialog(app, pilot)
        await wait_for(pilot, lambda: isinstance(dialog.focused, Options))
        await pilot.press("space")
        await wait_for(pilot, lambda: dialog.query_one("#limit", Input).value == "inconclusive")
        for field, text, words in (
            ("ends", "soon", "'soon' is no end"),
            ("ends", "91d", "90 days at most"),
            ("uses", "many", "no number of uses"),
            ("limit", "3", "only the limit 'inconclusive'"),
            ("approves", "ana@host", "let somebody else approve it"),
        ):
            fill(dialog, **({"ends": "7d", "uses": "1", "limit": "inconclusive"} | {field: text}))
            await wait_for(pilot, lambda words=words: says(app, words))  # type: ignore[misc]
            assert dialog.query_one("#do", Button).disabled
    assert records(ledger, "run.waiver_granted") == []


async def test_what_may_not_be_waived_is_listed_with_its_rule(tmp_path: Path) -> None:
    """A verdict that a gate without waivers rejects can be looked at in the dialog, and nothing can be appended."""
    gates = GATES.__class__(name="fixed", gates=(*GATES.gates[:2], GATES.gates[2].__class__(
        id="leak", metric="kl_nats", suite="lm", slice="student", rule="<=", theta=0.5, is_waivable=False
    )))  # fmt: skip
    write_waiting_run(tmp_path / "ledger", gates=gates).close()
    app = app_on(tmp_path / "ledger", screen=7)
    async with app.run_test(size=(120, 40)) as pilot:
        dialog = await open_dialog(app, pilot)
        assert says(app, "may not be waived, by gate set fixed/1", "nothing can be appended")
        assert not dialog.query("#do")


async def test_a_viewer_grants_nothing(ledger: Path) -> None:
    """Without leave to write the key says how to get it."""
    app = app_on(ledger, write=False)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await wait_for(pilot, lambda: app.is_settled)
        await pilot.press("W")
        await wait_for(pilot, lambda: says(app, "start kd tui with --write to waive"))


async def test_a_lapsed_approval_is_waived_anew(ledger: Path) -> None:
    """The dialog opens again for what had been waived, and the run that is resumed is approved again."""
    later_ms = NOW_MS + 13 * DAY_MS
    with open_ledger(ledger, registry=REGISTRY, clock=FixedClock(NOW_MS)) as store:
        for gate, worst in (("kl", 6.125), ("speed", None)):
            grant_waiver(store, RUN, waiver(gate, worst, max_uses=2), actor="a", now_ms=NOW_MS)
    assert isinstance(resume(ledger), s.Succeeded)
    app = app_on(ledger, now_ms=later_ms)
    async with app.run_test(size=(150, 45)) as pilot:
        dialog = await open_dialog(app, pilot)
        assert says(app, "approved with waivers, lapsed")
        await pilot.press("escape")
        await wait_for(pilot, lambda: app.screen is not dialog)
        for number in range(2):
            await grant(app, pilot, number)
    assert isinstance(resume(ledger, now_ms=later_ms), s.Succeeded)
    assert len(records(ledger, "governance.verdict_issued")) == 3


async def test_waivers_are_shown_until_they_end(ledger: Path) -> None:
    """Runs says how long the approval holds and Governance by which waivers; from the end of the first one on both say lapsed."""
    app = app_on(ledger)
    async with app.run_test(size=(150, 45)) as pilot:
        await grant(app, pilot, 0, ends="12d")
        await grant(app, pilot, 1, ends="3d", uses="3")
        await wait_for(pilot, lambda: "2 waivers wait for their answers" in text_of(app))
        assert isinstance(resume(ledger), s.Succeeded)
        await wait_for(pilot, lambda: "waived 3d" in text_of(app))
        await pilot.press("7")
        await wait_for(pilot, lambda: "APPROVED WITH WAIVERS, 3d left" in text_of(app) and "waivers 2 in force" in text_of(app))
        text = text_of(app)
        assert any(line.strip(" >").startswith("kl") and "12d  1 of 1" in line for line in text.splitlines())
        assert any(line.strip(" >").startswith("speed") and "3d  1 of 3" in line for line in text.splitlines())
        assert "asked ana@host, approved bo" in text
    later = app_on(ledger, now_ms=NOW_MS + 3 * DAY_MS, screen=7, write=False)
    async with later.run_test(size=(150, 45)) as pilot:
        await wait_for(pilot, lambda: later.is_settled and "LAPSED" in text_of(later))
        assert "of speed" not in text_of(later)
        await pilot.press("e")
        await wait_for(pilot, lambda: "of speed inconclusive: expired" in text_of(later))
        await pilot.press("1")
        await wait_for(pilot, lambda: "lapsed" in text_of(later))
    last = records(ledger, "run.succeeded")[0].position
    held = make_app(ledger, clock=FixedClock(NOW_MS + 9 * DAY_MS), run_id=RUN, first_screen=7, position=last)
    async with held.run_test(size=(150, 45)) as pilot:
        await wait_for(pilot, lambda: held.is_settled and "APPROVED WITH WAIVERS, 3d left" in text_of(held))
