"""What people see before they decide, and how the command line keeps a tired one from a mistake."""

import os
import pty
import sys
import threading
from typing import Any

import pytest
from click.testing import CliRunner

from quarantine import app
from quarantine.cli import options
from quarantine.cli.exit_code import ExitCode
from quarantine.cli.program import program
from quarantine.desk import Desk
from quarantine.intake import Intake
from quarantine.model import Finding, Severity, now
from quarantine.testing.fake.world import EVERYONE
from tests.core.cli_bench import CommandLine, visible
from tests.core.test_cli_cases import HOSTILE

US = options.local_person()


def reported(line: CommandLine, playbook: str = "answer-shells", name: str = "web-1") -> str:
    """A case from a detector, that waits for an approval."""
    intake: Intake = app.load(line.config).intake
    resource = line.world.add(name, labels={"app": "shop"}, ports={"22": EVERYONE})
    found = Finding(
        source="detector", id=f"f-{name}", title="a shell", type="shell", severity=Severity.HIGH, resource=resource,
        seen_at=now(),
    )  # fmt: skip
    case = intake.link(found, "source:detector", app.load(line.config).shelf.find(playbook)).case
    assert case is not None
    app.load(line.config).engine.advance(case)
    assert line.asks("case", "show", case)["status"] == "awaiting_approval"
    return case


class Terminal:
    """A command at a real terminal, in this process, so that it sees the same world."""

    def __init__(self, line: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
        self._line = line
        self._patch = monkeypatch

    def __call__(self, *words: str, typed: str) -> tuple[int, str]:
        """The exit code, and what was on the screen. `typed` is sent when the question stands there."""
        ours, theirs = pty.openpty()
        shown = bytearray()
        reader = threading.Thread(target=self._read, args=(ours, shown, typed))
        reader.start()
        with (
            os.fdopen(os.dup(theirs), "r") as keys,
            os.fdopen(os.dup(theirs), "w") as screen,
            self._patch.context() as on,
        ):
            on.setenv("NO_COLOR", "1")
            on.setattr(sys, "stdin", keys)
            on.setattr(sys, "stdout", screen)
            on.setattr(sys, "stderr", screen)
            code = program.main(["--config", str(self._line.config), *words], standalone_mode=False) or 0
            screen.flush()
        os.close(theirs)
        reader.join(10)
        os.close(ours)
        return code, shown.decode(errors="replace").replace("\r\n", "\n")

    @staticmethod
    def _read(ours: int, shown: bytearray, typed: str) -> None:
        waiting = typed.encode() + b"\n"
        try:
            while piece := os.read(ours, 65536):
                shown += piece
                asks = b"Do exactly this?" in shown or b"This cannot be undone. To do it," in shown
                if waiting and asks and shown.rstrip().endswith(b":"):
                    os.write(ours, waiting)
                    waiting = b""
        except OSError:  # how Linux says that the other end was closed
            pass


@pytest.fixture
def terminal(line: CommandLine, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    return Terminal(line, monkeypatch)


# -- approve -----------------------------------------------------------------------------------------------------------


def test_a_script_has_to_say_which_plan_it_means(line: CommandLine) -> None:
    case = reported(line)
    refused = line("case", "approve", case)
    assert refused.exit_code == ExitCode.USAGE
    digest = line.asks("case", "show", case)["plan_digest"]
    assert f"quarantine case approve {case} --plan {digest[:12]}" in refused.stderr
    assert line.world.sent == []
    assert line("case", "approve", case, "--plan", digest[:8]).exit_code == ExitCode.DONE
    assert "quarantine" in line.world.machine("web-1").labels


def test_what_is_shown_before_is_the_change_and_what_stays_possible(line: CommandLine) -> None:
    case = reported(line)
    caveats = [c["text"] for step in line.asks("case", "show", case)["plan"]["steps"] for c in step["caveats"]]
    done = line("case", "approve", case, "--yes", "-o", "json")
    assert done.exit_code == ExitCode.DONE
    assert "labels.app" in done.stderr and "can be undone" in done.stderr
    assert all(caveat[:40] in done.stderr for caveat in caveats)
    assert done.stderr.index("labels.app") < done.stderr.index("allowed"), "before it acts"
    assert done.stdout.startswith("{"), "stdout is data only"


def test_yes_is_not_enough_for_what_cannot_be_undone(line: CommandLine) -> None:
    case = reported(line, "stop")
    refused = line("case", "approve", case, "--yes")
    assert refused.exit_code == ExitCode.USAGE and "--yes is not enough" in refused.stderr
    assert line.world.sent == []
    digest = line.asks("case", "show", case)["plan_digest"]
    assert line("case", "approve", case, "--plan", digest[:12]).exit_code == ExitCode.DONE
    assert line.world.machine("web-1").power == "stopped"


@pytest.mark.parametrize("digest", ["1", "abcdefg", "xyzxyzxyz", "00000000"])
def test_a_wrong_or_short_plan_is_refused_before_anything_is_shown(line: CommandLine, digest: str) -> None:
    case = reported(line)
    refused = line("case", "approve", case, "--plan", digest)
    assert refused.exit_code == ExitCode.USAGE
    assert "labels.app" not in refused.stderr
    assert line.world.sent == []


@pytest.mark.parametrize("typed", ["", "n", "no", "N"])
def test_who_only_presses_enter_approves_nothing(line: CommandLine, terminal: Terminal, typed: str) -> None:
    case = reported(line)
    code, shown = terminal("case", "approve", case, typed=typed)
    assert code == ExitCode.APPROVAL, shown
    assert "labels.app" in shown and "Do exactly this? [y/N]" in shown and "Nothing was approved." in shown
    assert line.world.sent == []
    assert line.asks("case", "show", case)["status"] == "awaiting_approval"


def test_who_says_yes_to_what_stands_there_approves_that(line: CommandLine, terminal: Terminal) -> None:
    case = reported(line)
    code, shown = terminal("case", "approve", case, typed="y")
    assert code == ExitCode.DONE, shown
    approved = next(item.event for item in line.store.history(case) if item.event.type == "approved")
    assert approved.digest == line.asks("case", "show", case)["plan_digest"]
    assert "quarantine" in line.world.machine("web-1").labels


@pytest.mark.parametrize("typed", ["", "y", "yes", "web", "web-2"])
def test_by_reflex_nobody_approves_what_cannot_be_undone(line: CommandLine, terminal: Terminal, typed: str) -> None:
    case = reported(line, "stop")
    code, shown = terminal("case", "approve", case, typed=typed)
    assert code == ExitCode.APPROVAL, shown
    assert "type web-1" in shown
    assert line.world.sent == []


def test_who_types_the_name_of_the_resource_means_it(line: CommandLine, terminal: Terminal) -> None:
    code, shown = terminal("case", "approve", reported(line, "stop"), typed="web-1")
    assert code == ExitCode.DONE, shown
    assert line.world.machine("web-1").power == "stopped"


def test_a_name_that_nobody_can_type_is_not_asked_for(line: CommandLine, terminal: Terminal) -> None:
    case = reported(line, "stop", HOSTILE)
    digest = line.asks("case", "show", case)["plan_digest"]
    code, shown = terminal("case", "approve", case, typed=digest[:8])
    assert code == ExitCode.DONE, shown
    assert visible(shown.replace("\x1b[0m", ""))


def test_who_may_not_is_told_before_they_read_a_plan(line: CommandLine) -> None:
    case = line.case("stop", code=ExitCode.APPROVAL)
    for words in (("--yes",), ("--plan", line.asks("case", "show", case)["plan_digest"]), ()):
        refused = line("case", "approve", case, *words)
        assert refused.exit_code == ExitCode.USAGE and "somebody else must approve" in refused.stderr


# -- the queue ---------------------------------------------------------------------------------------------------------


def test_the_queues_say_what_waits_why_and_for_how_long(line: CommandLine) -> None:
    waiting, contained = reported(line), line.case(name="web-2")
    line.world.meddle("web-2", labels={"app": "shop"})
    app.load(line.config).engine.advance(contained)
    (listed,) = line.asks("case", "list", "--needs-human")
    assert (listed["id"], listed["reason"]) == (contained, "drifted") and "somebody changed" in listed["sentence"]
    shown = line("case", "list", "--needs-human").stdout
    assert "needs_human: drifted" in shown and "somebody changed" in shown and "FOR" in shown
    (listed,) = line.asks("case", "list", "--waiting")
    assert listed["id"] == waiting and listed["asks_until"] > listed["since"]
    assert "the mode is ask" in line("case", "list", "--waiting").stdout
    line("case", "approve", waiting, "--yes")
    assert line.asks("case", "list", "--waiting") == []
    assert line("case", "list", "--waiting", "--open").exit_code == ExitCode.USAGE


# -- escalate ----------------------------------------------------------------------------------------------------------


def test_escalate_shows_asks_and_adds(line: CommandLine) -> None:
    case = line.case()
    assert line("case", "escalate", case, "close").exit_code == ExitCode.USAGE
    assert line.asks("case", "show", case)["escalation"] is None
    done = line("case", "escalate", case, "close", "--yes", "--reason", "it goes on")
    assert done.exit_code == ExitCode.DONE, done.output
    assert "ports.22" in done.stderr
    assert "22" not in line.world.machine("web-1").ports
    assert "to close by" in line("case", "show", case).stdout
    assert line("case", "release", case).exit_code == ExitCode.DONE
    machine = line.world.machine("web-1")
    assert (machine.labels, machine.ports) == ({"app": "shop"}, {"22": EVERYONE})


def test_an_escalation_that_cannot_be_undone_waits_for_somebody_else(line: CommandLine) -> None:
    case = line.case()
    assert "--yes is not enough" in line("case", "escalate", case, "stop", "--yes").stderr
    plan = line("case", "escalate", case, "stop").stderr.rpartition("--plan ")[2].split()[0]
    asked = line("case", "escalate", case, "stop", "--plan", plan)
    assert asked.exit_code == ExitCode.APPROVAL, asked.output
    (listed,) = line.asks("case", "list", "--waiting")
    assert (listed["id"], listed["status"]) == (case, "contained")
    assert "escalation asked" in line("case", "list").stdout
    assert "somebody else must approve" in line("case", "approve", case, "--plan", plan).stderr
    assert line.world.machine("web-1").power == "running"
    assert f"quarantine case approve {case}" in line("case", "show", case).stderr
    loaded = app.load(line.config)
    Desk(loaded.store, loaded.settings.approvals, now).approve(case, "local:somebody-else", plan)
    loaded.engine.advance(case)
    assert line.world.machine("web-1").power == "stopped"


def test_an_escalation_that_comes_to_nothing_is_no_success(line: CommandLine) -> None:
    case = line.case()
    line("kill", "on", "--reason", "drill")
    stopped = line("case", "escalate", case, "close", "--yes")
    assert stopped.exit_code == ExitCode.STOPPED and "kill switch" in stopped.stderr
    assert line.asks("case", "show", case)["escalation"] is None
    line("kill", "off")
    line.configure(guards={"mode": "observe"})
    assert line("case", "escalate", case, "close", "--yes").exit_code == ExitCode.STOPPED
    assert "22" in line.world.machine("web-1").ports


@pytest.mark.parametrize(("playbook", "said"), [("isolat", "Did you mean"), ("isolate", "is of isolate already")])
def test_a_wrong_playbook_is_refused(line: CommandLine, playbook: str, said: str) -> None:
    refused = line("case", "escalate", line.case(), playbook, "--yes")
    assert refused.exit_code == ExitCode.USAGE and said in refused.stderr


# -- break-glass -------------------------------------------------------------------------------------------------------


def test_breaking_the_glass_from_beginning_to_review(line: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "may not open the glass" in line("break-glass", "open", "--reason", "x").stderr
    line.configure(approvals={"break_glass": [US]})
    case = line.case("stop", code=ExitCode.APPROVAL)
    digest = line.asks("case", "show", case)["plan_digest"]
    made = line("break-glass", "open", "--for", "5m", "--reason", "the plant is on fire")
    token = made.stdout.strip()
    assert len(token) >= 32 and token not in made.stderr
    broken = ("case", "approve", case, "--plan", digest, "--break-glass")
    assert "say why" in line(*broken).stderr
    assert "QUARANTINE_BREAK_GLASS" in line(*broken, "--reason", "nobody is awake").stderr
    monkeypatch.setenv("QUARANTINE_BREAK_GLASS", "wrong")
    assert "no break-glass token" in line(*broken, "--reason", "nobody is awake").stderr
    assert line.world.sent == []
    monkeypatch.setenv("QUARANTINE_BREAK_GLASS", token)
    done = line(*broken, "--reason", "nobody is awake")
    assert done.exit_code == ExitCode.DONE, done.output
    assert line.world.machine("web-1").power == "stopped"
    assert "BREAK-GLASS" in line("case", "list").stdout
    assert "BREAK-GLASS" in line("case", "show", case).stdout
    (use,) = line.asks("break-glass", "list")
    assert (use["state"], use["case"], use["used_by"], use["reason"]) == (
        "not reviewed", case, US, "the plant is on fire",
    )  # fmt: skip
    assert use["id"] in line("break-glass", "list").stdout
    assert "somebody else must review" in line("break-glass", "reviewed", use["id"], "--reason", "fine").stderr
    loaded = app.load(line.config)
    Desk(loaded.store, loaded.settings.approvals, now).reviewed(use["id"], "local:bob", "it did burn")
    assert line.asks("break-glass", "list") == []
    assert [item["state"] for item in line.asks("break-glass", "list", "--all")] == ["reviewed"]
    assert "it did burn" in line("case", "show", case).stdout
    assert line("audit", "verify").exit_code == 0
    for output in (line("case", "show", case), line("break-glass", "list", "--all")):
        assert token not in output.output


def test_the_timeline_shows_it_in_red(line: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    from quarantine.case import Approved
    from quarantine.cli.timeline import verb

    alone = Approved(digest="0" * 64, expires_at=now(), break_glass=True, glass="g-1")
    assert str(verb(alone).style) == "bold red"
    assert "red" not in str(verb(alone.model_copy(update={"break_glass": False})).style)


def test_hostile_reasons_are_shown_escaped(line: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    line.configure(approvals={"break_glass": [US]})
    monkeypatch.setenv("QUARANTINE_BREAK_GLASS", line("break-glass", "open", "--reason", HOSTILE).stdout.strip())
    case = line.case("stop", code=ExitCode.APPROVAL)
    digest = line.asks("case", "show", case)["plan_digest"]
    outputs = [line("case", "approve", case, "--plan", digest, "--break-glass", "--reason", HOSTILE)]
    outputs += [line("break-glass", "list", "--all", "-o", form) for form in ("table", "json", "csv", "yaml")]
    outputs += [line("case", "show", case), line("case", "list")]
    assert all(visible(output.stdout) and visible(output.stderr) for output in outputs)


def test_doctor_says_whether_people_can_be_told(line: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    line.configure(notify={"on-call": {"url": "env:ON_CALL_URL"}})
    monkeypatch.delenv("ON_CALL_URL", raising=False)
    assert "ON_CALL_URL is not set" in line("doctor").stdout
    monkeypatch.setenv("ON_CALL_URL", "https://hooks.example.com/T0/the-token")
    shown = line("doctor").stdout
    assert "its address and its secret are there" in shown and "the-token" not in shown


def test_help_is_there_for_every_verb() -> None:
    for words in (("case", "approve"), ("case", "escalate"), ("break-glass",), ("break-glass", "open")):
        result: Any = CliRunner().invoke(program, [*words, "--help"])
        assert result.exit_code == 0 and "Usage" in result.stdout
