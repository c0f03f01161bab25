"""From what came in to a case: parse strictly, recognise repeats, choose the playbook, open at most one live case."""

import json
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from quarantine.case import Opened, Outcome, Repeated, Status
from quarantine.config import Source
from quarantine.errors import Malformed, Misused, Moved, NotFound
from quarantine.match import Matcher
from quarantine.model import Finding
from quarantine.playbook import Playbook
from quarantine.record import unwrapped
from quarantine.registry import Registry
from quarantine.store.sql import Also, Delivery, Settles, Store

log = logging.getLogger(__name__)

DEEPEST = 32
LARGEST_INTEGER = 2**53

STICKY = frozenset({Outcome.KEPT, Outcome.SUPPRESSED, Outcome.FALSE_POSITIVE, Outcome.DECLINED, Outcome.REFUSED})
"""A case that ended so is not opened again by the same finding: a person, or a guard, has answered it."""


class Fate(StrEnum):
    """What became of one finding."""

    LINKED = "linked"
    DUPLICATE = "duplicate"
    IGNORED = "ignored"
    REJECTED = "rejected"


@dataclass(frozen=True)
class Result:
    """One finding's fate, and why."""

    fate: Fate
    sentence: str
    case: str | None = None
    finding: str = ""


class Intake:
    """The one way in, for webhooks, polls and people."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        matcher: Matcher,
        sources: dict[str, Source],
        clock: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._registry = registry
        self._matcher = matcher
        self._sources = sources
        self._clock = clock

    def parse(self, source: str, body: bytes, received: datetime) -> list[Finding]:
        """The findings in a body. Raises Malformed, NotFound for a source that is not configured."""
        if source not in self._sources:
            raise NotFound(f"source '{source}' is not configured: add it under 'sources:'")
        settings = self._sources[source]
        parser = self._registry.parsers[settings.parser]
        findings: list[Finding] = []
        for record in strict_json(body):
            opened = unwrapped(record)
            told = opened if settings.cluster is None else {**opened, "cluster": settings.cluster}
            findings += parser(told, source, received)
        return [finding.model_copy(update={"reader": settings.parser}) for finding in findings]

    def settle_waiting(
        self, stopping: Callable[[], bool] = lambda: False, settled: Callable[[], None] = lambda: None
    ) -> bool:
        """Settle what waits, oldest first, unless another worker does. Was there anything to do?

        `settled` is called after each, so that its case need not wait for the others.

        Raises Unavailable. What comes in while this ends is seen: it looks again after others may take over.
        """
        worked = False
        while not stopping():
            with self._store.settling() as ours:  # for one batch: whoever is silent for long loses it
                deliveries = self._store.waiting() if ours else []
                for delivery in deliveries:
                    self.settle(delivery)
                    settled()
            worked = worked or bool(deliveries)
            if not deliveries and not (ours and self._store.waiting(limit=1)):
                break
        return worked

    def settle(self, delivery: Delivery) -> list[Result]:
        """Decide what becomes of every finding of a delivery, and record it."""
        try:
            findings = self.parse(delivery.source, delivery.body, delivery.received_at)
            by, whole = f"source:{delivery.source}", delivery if len(findings) == 1 else None
            results = [self.link(finding, by, whole=whole) for finding in findings]
            if whole is not None and results[0].fate is Fate.LINKED:
                return results
            if not findings:
                results = [Result(Fate.IGNORED, "there was no finding in it")]
        except (Malformed, NotFound) as error:
            results = [Result(Fate.REJECTED, str(error))]
        self._store.settle(delivery, [asdict(result) for result in results])
        return results

    def link(
        self, finding: Finding, by: str, playbook: Playbook | None = None, whole: Delivery | None = None
    ) -> Result:
        """Open a case for a finding, or add it to the one that is there. With `playbook`, that one answers.

        `whole` is the delivery of which the finding is all: if a case is opened, it is settled in the same commit.
        """
        result = self._link(finding, by, playbook, whole)
        log.info(
            "finding_settled",
            extra={"finding": finding.id, "fate": str(result.fate), "case": result.case, "why": result.sentence},
        )
        return Result(result.fate, result.sentence, result.case, finding.id)

    def _link(self, finding: Finding, by: str, playbook: Playbook | None, whole: Delivery | None) -> Result:
        if finding.sample:
            return Result(Fate.IGNORED, "a sample finding never acts")
        if not finding.active:
            return Result(Fate.IGNORED, "the source says that it is resolved, archived or suppressed")
        last = self._store.last_case(finding)
        if last is not None and last.status is not Status.CLOSED:
            return self._repeat(last.id, finding, by)
        if last is not None and last.outcome in STICKY:
            return Result(Fate.IGNORED, f"case {last.id} answered it: {last.outcome}", last.id)
        if last is not None and last.false_positive:
            return Result(Fate.IGNORED, f"case {last.id} found it to be a false positive", last.id)
        if last is not None and finding.seen_at <= last.updated_at:
            return Result(Fate.IGNORED, f"case {last.id} closed after this was last seen: {last.outcome}", last.id)
        chosen = playbook or self._matcher.answer(finding)
        if chosen is None:
            return Result(Fate.IGNORED, "no playbook answers it. Why: quarantine explain")
        sentence, after = f"opened under {chosen.name}", "" if last is None else last.id
        opened = Opened(finding=finding, playbook=chosen.name, playbook_digest=chosen.digest, after=after)
        settles = None
        if whole is not None:
            settles = Settles(whole, lambda case: [asdict(Result(Fate.LINKED, sentence, case, finding.id))])
        try:
            case = self._store.open(opened, by=by, at=self._clock(), linked=after, settles=settles)
        except Moved:
            live = self._store.live(finding, chosen.name)
            if live is None:
                return self._link(finding, by, playbook, whole)  # it closed in this very moment
            return self._repeat(live, finding, by)
        return Result(Fate.LINKED, sentence, case.id)

    def _repeat(self, case_id: str, finding: Finding, by: str) -> Result:
        """A repeat refreshes the case's finding; the very same message again adds nothing."""
        case = self._store.load(case_id)
        self._store.remember(finding, case_id, self._clock())
        if finding.key != case.finding.key or finding.seen_at > case.finding.seen_at:
            try:
                self._store.append(case, [Repeated(finding=finding)], by=by, at=self._clock(), also=Also(keep_due=True))
            except Misused:
                log.info("case_closed_meanwhile", extra={"case": case_id})
        return Result(Fate.DUPLICATE, f"case {case_id} has it already", case_id)


def strict_json(body: bytes) -> list[dict[str, Any]]:
    """One JSON object, or a list of them as Event Grid sends it, as every parser must understand it. Raises Malformed.

    Refused: another encoding than UTF-8, duplicate keys, NaN and infinities, integers beyond 64 bits, NUL, lone
    surrogates, nesting deeper than 32. An integer beyond 2^53, which a double cannot hold, is its digits as text.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed(f"the body is not UTF-8 (byte {error.start})") from None
    _refuse_depth(text)
    try:
        value = json.loads(
            text, object_pairs_hook=_no_duplicates, parse_constant=_no_constant, parse_float=_finite, parse_int=_exact
        )
    except json.JSONDecodeError as error:
        raise Malformed(f"the body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise Malformed(f"the body is nested deeper than {DEEPEST}") from None
    records = value if isinstance(value, list) else [value]
    if not records or not all(isinstance(record, dict) for record in records):
        raise Malformed("the body must be one JSON object, or a list of objects")
    return records


def _refuse_depth(text: str) -> None:
    depth, inside, escaped = 0, False, False
    for character in text:
        if inside:
            inside = escaped or character != '"'
            escaped = character == "\\" and not escaped
        elif character == '"':
            inside = True
        elif character in "[{":
            depth += 1
            if depth > DEEPEST:
                raise Malformed(f"the body is nested deeper than {DEEPEST}")
        elif character in "]}":
            depth -= 1


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise Malformed(f"the key '{key[:50]}' stands twice in one object")
        found[_plain(key)] = _plain(value)
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, str) and any(character == "\0" or "\ud800" <= character <= "\udfff" for character in value):
        raise Malformed("the body holds a NUL or half of a surrogate pair")
    return value


def _no_constant(word: str) -> Any:
    raise Malformed(f"{word} is not a number")


def _finite(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise Malformed(f"{digits[:50]} is too large a number")
    return value


def _exact(digits: str) -> int | str:
    """Falco writes the nanoseconds since 1970 (`evt.time`), Tetragon 64-bit ids: their digits are kept, as text."""
    if len(digits) > 20 or abs(int(digits)) >= 2**64:
        raise Malformed(f"{digits[:50]} is an integer beyond 2^64")
    return int(digits) if abs(int(digits)) <= LARGEST_INTEGER else digits
