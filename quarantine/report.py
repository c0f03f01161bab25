"""One case as a page that needs nothing else: what happened, who decided, what stayed possible, and how to prove it.

Pure: entries in, HTML out. No script, nothing is loaded, and whatever others wrote is text: the policy in the page
itself forbids a browser anything but our own style.
"""

import base64
import hashlib
import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from quarantine.case import (
    Allowed,
    Approved,
    Captured,
    Case,
    Changed,
    Closed,
    Contained,
    Event,
    Halted,
    Outcome,
    Recorded,
    Redacted,
    Released,
    ReleaseRequested,
    Stage,
    Status,
    Verified,
    fold,
)
from quarantine.ledger import START, Sealed, unseal
from quarantine.narrative import about, changed, gap, said, values, what_was_erased
from quarantine.note import Checkpoint
from quarantine.plan import Nature, PlannedStep
from quarantine.text import many, moment, safe_text

LONGEST = 4000
"""Characters of one text of others that are shown."""


@dataclass(frozen=True)
class Papers:
    """What a page is made of."""

    entries: Sequence[Sealed]
    """Of the case, as they are stored, in their order."""
    proof: str | None
    """Of its last signed entry; None if nothing of it is signed yet."""
    key: str
    """The public key that the record is signed with; empty if there is none yet."""


class Markup(str):
    """HTML that we made. Every other string is text."""

    __slots__ = ()


def page(papers: Papers) -> str:
    """The page. Raises Misused if the entries make no case."""
    events = unseal(papers.entries)
    case = fold(events)
    parts = [
        _head(case, events),
        _summary(case, events),
        _changes(case, events),
        _caveats(case),
        _decisions(case, events),
        _timeline(events),
        _evidence(events),
        _proof(case, papers),
    ]
    return _document(f"Case {case.id}: {case.playbook}", parts)


# -- sections ----------------------------------------------------------------------------------------------------------


def _head(case: Case, events: Sequence[Recorded]) -> Markup:
    why = case.outcome or case.reason
    standing = f"{case.status}: {why}" if why else str(case.status)
    tone = _tone(case)
    return _tag(
        "header",
        _tag("p", "Containment record", kind="kicker"),
        _tag("h1", case.resource.id),
        _tag("p", _tag("span", standing.replace("_", " "), kind=f"standing {tone}"), " ", _tag("code", case.id)),
        _tag(
            "p",
            "Made from the record of cloud-quarantine, a program that isolates compromised cloud workloads and gives "
            f"them back as they were. It covers {moment(events[0].at)} to {moment(events[-1].at)}.",
            kind="dim",
        ),
    )


def _summary(case: Case, events: Sequence[Recorded]) -> Markup:
    finding = case.finding
    sentences = [*_beginning(case), *_middle(case, events), _ending(case, events)]
    by_hand = case.requested
    facts = [
        ("Resource", f"{case.resource.id}, a {case.resource.kind} in {case.resource.scope}"),
        ("Its own id", case.resource.uid or ""),
        (
            "Finding",
            ""
            if by_hand
            else " ".join(part for part in (finding.title, f"({finding.type})" if finding.type else "") if part),
        ),
        ("Severity", "" if by_hand else str(finding.severity)),
        ("Source", "" if by_hand else f"{finding.source}, which last saw it on {moment(finding.seen_at)}"),
        ("Asked again", said(case.sighting) if case.sighting else ""),
        ("Answered by", f"playbook {', '.join(case.playbooks)}"),
    ]
    return _section("What happened", *(_tag("p", sentence) for sentence in sentences if sentence), _facts(facts))


def _beginning(case: Case) -> Iterable[str]:
    if case.requested:
        yield f"{case.opened_by} asked by hand on {moment(case.opened_at)} to use the playbook {case.playbook}."
    else:
        what = case.finding.title or case.finding.type or case.finding.id
        yield f"{case.finding.source} reported “{what}”. The case was opened on {moment(case.opened_at)}."


def _middle(case: Case, events: Sequence[Recorded]) -> Iterable[str]:
    if case.glass_broken:
        yield "The glass was broken: one person did alone what needs two. See “Who decided”."
    first = _first(events, Contained)
    changes_made = sum(isinstance(item.event, Changed) for item in events)
    if first is not None:
        took = gap(first.at - case.opened_at).removeprefix("+")
        yield (
            f"It was contained on {moment(first.at)}, {took} after the case was opened: the provider was asked again "
            f"afterwards, and showed what was intended. {many(changes_made, 'change was', 'changes were')} sent to the "
            "provider in all, those that undo included."
        )
    elif changes_made:
        yield f"{many(changes_made, 'change was', 'changes were')} made at the provider."
    else:
        yield "Nothing was changed at the provider."


_ENDINGS: dict[Outcome, str] = {
    Outcome.RELEASED: "everything was given back. The provider was asked again, and shows what was there before",
    Outcome.KEPT: "a person accepted the contained state as the new normal. It is not watched any more",
    Outcome.DISPOSED: "the resource was disposed of while it was contained",
    Outcome.NOT_NEEDED: "there was nothing to do: it was so already",
    Outcome.TARGET_GONE: "the resource did not exist any more",
    Outcome.ONE_WAY_DONE: "it was done and verified, and cannot be undone",
    Outcome.DECLINED: "a person said no",
    Outcome.REFUSED: "it was refused",
    Outcome.EXPIRED: "nobody said yes in time",
    Outcome.HANDLED_OUTSIDE: "a person dealt with it outside of this program",
    Outcome.FALSE_POSITIVE: "the finding was wrong",
    Outcome.SUPPRESSED: "the finding was suppressed at its source",
    Outcome.MERGED: "another case goes on with it",
}
_STANDINGS: dict[Status, str] = {
    Status.NEW: "Nothing was decided yet",
    Status.PROPOSED: "The plan is a proposal, which a guard holds back",
    Status.AWAITING_APPROVAL: "The plan waits for a person's yes",
    Status.CONTAINING: "It was being contained when this page was made",
    Status.CONTAINED: "It is still contained and watched",
    Status.RELEASING: "It was being given back when this page was made",
    Status.NEEDS_HUMAN: "It stopped, and waits for a person",
}


def _ending(case: Case, events: Sequence[Recorded]) -> str:
    last = events[-1]
    if case.outcome is None:
        return _finished(_STANDINGS[case.status], case.sentence)
    told = f"On {moment(last.at)}: {_ENDINGS[case.outcome]}"
    if case.outcome is Outcome.RELEASED:
        told += f". {case.released_by} had asked for it" if case.released_by else ""
    kept = [item for progress in case.steps.values() for item in progress.kept]
    if kept:
        told += f". What somebody else had changed meanwhile stayed as they set it: {changed(kept)}"
    return _finished(told, "" if case.outcome is Outcome.RELEASED else case.sentence)


def _finished(told: str, sentence: str) -> str:
    return f"{told}: {sentence}." if sentence else f"{told}."


def _changes(case: Case, events: Sequence[Recorded]) -> Markup:
    steps = () if case.plan is None else case.plan.steps
    shown = [_step(case, step, events) for step in steps]
    if not shown:
        return _section("What was changed", _tag("p", "No plan was made."))
    told = "Before is what was read from the provider beforehand, and what a release gives back."
    return _section("What was changed", _tag("p", told, kind="dim"), *shown)


_STAGES: dict[Stage, str] = {
    Stage.PLANNED: "Not begun.",
    Stage.INTENDED: "Intended; whether it took effect is not known here.",
    Stage.APPLIED: "Applied, and not read back yet.",
    Stage.VERIFIED: "In place: read back from the provider and equal to “after”.",
    Stage.DRIFTED: "Was in place; somebody has changed it since.",
    Stage.SKIPPED: "Nothing to do: it was so already.",
    Stage.CAPTURED: "Evidence was taken, and nothing was changed. See below.",
    Stage.RELEASE_INTENDED: "Is to be given back; whether that took effect is not known here.",
    Stage.RELEASE_APPLIED: "Given back, and not read back yet.",
    Stage.RELEASED: "Given back: read back from the provider and equal to “before”.",
}


def _step(case: Case, step: PlannedStep, events: Sequence[Recorded]) -> Markup:
    stage = case.progress(step.index).stage
    times = {type(item.event): item.at for item in events if getattr(item.event, "step", None) == step.index}
    dated = [f"{name} {moment(times[kind])}" for kind, name in _DATES if kind in times]
    title = _tag("h3", f"{step.index + 1}. ", _tag("code", step.action), f" on {step.resource.id}")
    outcome = "It cannot work here." if step.refusal is not None else _STAGES[stage]
    lines = [_tag("p", outcome, f" ({', '.join(dated)})" if dated else "")]
    if step.nature is Nature.ONE_WAY:
        lines.append(_tag("p", "This cannot be undone.", kind="warn"))
    if step.refusal is not None:
        lines.append(_tag("p", step.refusal.reason, kind="warn"))
    rows = [
        _row(_tag("code", name), _value(before), _value(after))
        for name, before, after in values(step.differences, LONGEST)
    ]
    if rows:
        lines.append(_table(("Setting", "Before", "After"), rows, "values"))
    return _tag("article", title, *lines)


_DATES: tuple[tuple[type[Event], str], ...] = ((Verified, "read back"), (Released, "given back"))


def _value(value: str | None) -> Markup:
    return _tag("span", "absent", kind="dim") if value is None else _tag("code", value)


def _caveats(case: Case) -> Markup:
    steps = () if case.plan is None else case.plan.steps
    said_once = dict.fromkeys(caveat.text for step in steps if step.refusal is None for caveat in step.caveats)
    if not said_once:
        return _section("What stayed possible", _tag("p", "The plan names nothing that it leaves open."))
    intro = "What the containment does not stop, as everybody was told who approved it:"
    return _section("What stayed possible", _tag("p", intro), _tag("ul", *(_tag("li", text) for text in said_once)))


def _decisions(case: Case, events: Sequence[Recorded]) -> Markup:
    rows = []
    if case.requested:
        rows.append(_row(moment(case.opened_at), case.opened_by, "asked for it by hand"))
    for item in events:
        event = item.event
        if isinstance(event, Approved):
            alone = f" alone, by breaking the glass with {event.glass}," if event.break_glass else ""
            told = f"said yes{alone} to exactly the plan {event.digest[:12]}"
            rows.append(_row(moment(item.at), item.by, _with_reason(told, event.reason)))
        elif isinstance(event, Allowed):
            plan = f"All {len(event.sentences)} guards let the plan {event.digest[:12]} act:"
            told = _tag("div", plan, _tag("ul", *(_tag("li", sentence) for sentence in event.sentences)))
            rows.append(_row(moment(item.at), "the guards", told))
        elif isinstance(event, ReleaseRequested):
            rows.append(_row(moment(item.at), item.by, _with_reason("asked to give everything back", event.reason)))
        elif isinstance(event, Redacted):
            told = f"erased {what_was_erased(event)} for ever"
            rows.append(_row(moment(item.at), item.by, _with_reason(told, event.reason)))
        elif isinstance(event, Halted):
            rows.append(_row(moment(item.at), "the program", f"stopped for a person: {event.sentence}"))
        elif isinstance(event, Closed) and item.by != "engine":
            rows.append(_row(moment(item.at), item.by, _with_reason(f"closed it as {event.outcome}", event.sentence)))
    if not any(isinstance(item.event, Approved) for item in events) and case.allowed and not case.requested:
        intro = "No person was asked beforehand: the playbook may act by itself here, and every guard allowed it."
    else:
        intro = "Guards are checks that each may stop a plan. A person's yes is bound to one plan by its digest."
    intro += " “local:” names a user of the operating system, “person:” somebody by a token of theirs."
    return _section("Who decided", _tag("p", intro, kind="dim"), _table(("When", "Who", "What"), rows))


def _with_reason(told: str, reason: str) -> str:
    return f"{told}: “{reason}”" if reason else told


def _timeline(events: Sequence[Recorded]) -> Markup:
    rows, last = [], events[0].at
    for item in events:
        rows.append(
            _row(
                str(item.seq),
                f"{item.at:%Y-%m-%d %H:%M:%S}",
                gap(item.at - last) if item.seq > 1 else "",
                item.event.type.replace("_", " "),
                about(item),
                item.by,
            )
        )
        last = item.at
    return _section("Timeline", _table(("Entry", "Time (UTC)", "Later by", "Event", "What", "By"), rows, "timeline"))


def _evidence(events: Sequence[Recorded]) -> Markup:
    blocks = []
    for item in events:
        if not isinstance(item.event, Captured):
            continue
        taken = item.event.custody
        told = (
            f"Entry {item.seq}: {taken.action} of {taken.resource}, taken {moment(taken.began_at)} to "
            f"{moment(taken.ended_at)}, as {taken.principal}, by the process {taken.worker} with {taken.tool}."
        )
        rows = [
            _row(
                piece.name,
                f"{piece.size} bytes" + (f", the beginning of {piece.cut_from}" if piece.cut_from else ""),
                _erased(piece.sha256, item, events),
                _tag("code", piece.sha256),
            )
            for piece in item.event.evidence
        ]
        blocks += [_tag("p", told), _table(("File", "Size", "Erased", "SHA-256"), rows, "hashes")]
    return _section("Evidence", *(blocks or [_tag("p", "No evidence was taken.")]))


def _erased(sha256: str, captured: Recorded, events: Sequence[Recorded]) -> str:
    """When a piece of evidence was erased after it was captured."""
    for item in events[captured.seq :]:
        if isinstance(item.event, Redacted) and sha256 in item.event.evidence:
            return f"{moment(item.at)} by {item.by}"
    return "no"


def _proof(case: Case, papers: Papers) -> Markup:
    told = [
        _tag(
            "p",
            "Each entry of this case holds the SHA-256 of the one before, so the last one stands for all of them. It "
            "is in a Merkle tree (RFC 6962) over all entries of the installation, whose root is signed (Ed25519). "
            "Nobody who lacks the signing key can change, remove or insert an entry afterwards without that being "
            "found. This page is only a rendering: what is proven is the entries, by their hashes below.",
        )
    ]
    if papers.proof is None:
        told.append(_tag("p", "No entry of this case is signed yet: this page proves nothing.", kind="warn"))
        return _section("Proof", *told, _hashes(papers))
    entry, state = _proven(papers.proof)
    covered = f"entry {entry.seq}" + (" (the last)" if entry.seq == case.seq else f" of {case.seq}; later ones are not")
    told += [
        _facts(
            [
                ("Signed", f"{covered}, in the tree of the first {state.size} entries of {state.origin}"),
                ("Root", base64.b64encode(state.root).decode()),
                ("Key", f"{papers.key}: compare it with the one that you were given beforehand"),
            ]
        ),
        _tag("p", "To check it, save these lines, exactly as they are, as proof.txt:"),
        _lines(papers.proof, "proof"),
        _tag("p", "and run, with the key that you were given beforehand:"),
        _lines("pip install cloud-quarantine\nquarantine audit verify --proof proof.txt --key KEY"),
        _tag(
            "p",
            "That names the entry and says whether it was signed. Its SHA-256 is the last of these, and each other one "
            "is the “prev” of the entry that follows, in the record that ",
            _tag("code", "quarantine audit export"),
            " gives out:",
        ),
    ]
    return _section("Proof", *told, _hashes(papers))


def _proven(proof: str) -> tuple[Recorded, Checkpoint]:
    """What our own proof is about; it was made just now, and is not checked here."""
    head, _, note = proof.partition("\n\n")
    entry = base64.b64decode(head.split("\n")[1].removeprefix("extra "))
    (recorded,) = unseal([Sealed("", 0, entry, "")])
    return recorded, Checkpoint.in_note(note)


def _hashes(papers: Papers) -> Markup:
    rows = [_row("start", _tag("code", START))]
    rows += [
        _row(str(number), _tag("code", hashlib.sha256(entry.content).hexdigest()))
        for number, entry in enumerate(papers.entries, 1)
    ]
    return _table(("Entry", "SHA-256"), rows, "hashes")


# -- HTML --------------------------------------------------------------------------------------------------------------


def _text(value: str) -> str:
    return value if isinstance(value, Markup) else html.escape(safe_text(value, LONGEST))


def _tag(name: str, *content: str, kind: str = "") -> Markup:
    """An element. What is not Markup is text, with everything a reader cannot see made visible."""
    attribute = f' class="{kind}"' if kind else ""
    return Markup(f"<{name}{attribute}>{''.join(_text(part) for part in content)}</{name}>")


def _lines(text: str, kind: str = "") -> Markup:
    """Text of ours whose lines are kept."""
    shown = "\n".join(html.escape(safe_text(line, LONGEST)) for line in text.splitlines())
    return _tag("pre", Markup(shown), kind=kind)


def _section(title: str, *content: str) -> Markup:
    return _tag("section", _tag("h2", title), *content)


def _facts(facts: Iterable[tuple[str, str]]) -> Markup:
    known = [(name, text) for name, text in facts if text]
    return _tag("dl", *(part for name, text in known for part in (_tag("dt", name), _tag("dd", text))))


def _row(*cells: str) -> Markup:
    return _tag("tr", *(_tag("td", cell) for cell in cells))


def _table(header: Sequence[str], rows: Sequence[Markup], kind: str = "") -> Markup:
    head = _tag("thead", _tag("tr", *(_tag("th", title) for title in header)))
    return _tag("table", head, _tag("tbody", *rows), kind=kind)


def _first(events: Sequence[Recorded], kind: type[Event]) -> Recorded | None:
    return next((item for item in events if isinstance(item.event, kind)), None)


def _tone(case: Case) -> str:
    if case.status is Status.NEEDS_HUMAN or case.glass_broken:
        return "bad"
    if case.status is Status.CONTAINED or case.outcome in (Outcome.RELEASED, Outcome.KEPT, Outcome.ONE_WAY_DONE):
        return "good"
    return "plain"


def _document(title: str, parts: Iterable[Markup]) -> str:
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n'
        f"<title>{_text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body>\n</html>\n"
    )


_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --dim: #5a6370; --line: #d5dae0; --paper: #fff; --soft: #f4f6f8;
  --good: #11663b; --bad: #a11622; --warn: #7a4b00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ed; --dim: #9aa4b0; --line: #39414b; --paper: #14181d;
  --soft: #1d232a; --good: #6fd39b; --bad: #ff8f8f; --warn: #f0bd6a; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 60rem; color: var(--ink); background: var(--paper);
  font: 16px/1.5 system-ui, "Segoe UI", "Liberation Sans", sans-serif; }
h1 { margin: 0 0 .5rem; font-size: 1.9rem; line-height: 1.2; overflow-wrap: anywhere; }
h2 { margin: 2.5rem 0 .75rem; padding-bottom: .25rem; font-size: 1.25rem; border-bottom: 1px solid var(--line); }
h3 { margin: 1.5rem 0 .25rem; font-size: 1rem; overflow-wrap: anywhere; }
p { margin: .5rem 0; overflow-wrap: anywhere; }
ul { margin: .25rem 0; padding-left: 1.25rem; }
code, pre { font: .875em/1.45 ui-monospace, "SF Mono", "Liberation Mono", monospace; overflow-wrap: anywhere; }
pre { padding: .75rem; background: var(--soft); white-space: pre-wrap; word-break: break-all; border-radius: 4px; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1.25rem; margin: 1rem 0; }
dt { color: var(--dim); }
dd { margin: 0; overflow-wrap: anywhere; min-width: 0; }
table { width: 100%; border-collapse: collapse; font-size: .9rem; margin: .5rem 0 1rem; }
th { text-align: left; font-weight: 600; color: var(--dim); }
th, td { padding: .35rem .75rem .35rem 0; vertical-align: top; border-bottom: 1px solid var(--line);
  overflow-wrap: anywhere; }
table.timeline td:nth-child(-n+3) { white-space: nowrap; font-variant-numeric: tabular-nums; color: var(--dim); }
table.timeline th, table.timeline td:nth-child(4), table.timeline td:last-child { white-space: nowrap; }
table.timeline td:nth-child(4) { font-weight: 600; }
table.values { table-layout: fixed; }
table.hashes td:first-child { white-space: nowrap; }
.kicker { margin: 0; color: var(--dim); text-transform: uppercase; letter-spacing: .08em; font-size: .8rem; }
.standing { padding: .1rem .6rem; border: 1px solid currentColor; border-radius: 1rem; font-weight: 600; }
.good { color: var(--good); } .bad { color: var(--bad); } .warn { color: var(--warn); } .dim { color: var(--dim); }
@media (max-width: 40rem) { dl { grid-template-columns: 1fr; } dd { margin-bottom: .5rem; } }
@media print { :root { color-scheme: light; --ink: #000; --dim: #444; --line: #bbb; --paper: #fff; --soft: #f4f4f4;
    --good: #11663b; --bad: #a11622; --warn: #7a4b00; }
  body { max-width: none; padding: 0; font-size: 10pt; } h2, h3 { break-after: avoid; } tr, li { break-inside: avoid; }
  thead { display: table-header-group; } @page { margin: 18mm 16mm; } }
"""
