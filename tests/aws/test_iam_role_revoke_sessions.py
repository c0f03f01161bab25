import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from quarantine.action import reached
from quarantine.errors import Conflict, Gone, Transient
from quarantine.model import Resource
from quarantine.testing.contract import Setting, Stranger
from quarantine_aws.cloud import GLOBAL
from quarantine_aws.deny_policy import Policy
from quarantine_aws.iam_role_revoke_sessions import IamRoleRevokeSessions
from quarantine_aws.role_revocation import Revocation, Sessions, asked_at, document, read, refusal
from tests.aws.conftest import provider
from tests.aws.faults import AwsContract
from tests.testbed.aws import ACCOUNT
from tests.testbed.ec2 import READ_ALL, Vpc
from tests.testbed.proxy import FaultProxy

ROLE = "reporting"
EVERYWHERE = f"{ACCOUNT}/{GLOBAL}"
OLDER, ALL = "cloud-quarantine-older-sessions", "cloud-quarantine-all-sessions"
NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def made(aws: FaultProxy, vpc: Vpc, **settings: Any) -> Setting:
    role = Resource(kind="aws:iam-role", id=ROLE, scope=EVERYWHERE, uid=vpc.role(ROLE))
    return Setting(IamRoleRevokeSessions(**settings), provider(aws.url).connect(EVERYWHERE), role)


@pytest.fixture
def setting(aws: FaultProxy, vpc: Vpc) -> Setting:
    return made(aws, vpc)


def observed(setting: Setting) -> Revocation:
    state = setting.observe()
    assert isinstance(state, Revocation)
    return state


def contain(setting: Setting) -> tuple[Revocation, Revocation]:
    before = observed(setting)
    target = setting.action.contained(before)
    setting.apply(target)
    assert reached(observed(setting), target)
    return before, target


def write(vpc: Vpc, name: str, told: Any) -> None:
    vpc.iam.put_role_policy(RoleName=ROLE, PolicyName=name, PolicyDocument=json.dumps(told))


class TestOlderSessions(AwsContract):
    @pytest.fixture
    def setting(self, aws: FaultProxy, vpc: Vpc) -> Setting:
        return made(aws, vpc)

    @pytest.fixture
    def stranger(self, vpc: Vpc) -> Stranger:
        """Somebody lets the sessions of this year through again."""
        return lambda: write(vpc, OLDER, _dated(vpc.policies(ROLE)[OLDER], "2026-01-01T00:00:00Z"))


class TestAllSessions(AwsContract):
    @pytest.fixture
    def setting(self, aws: FaultProxy, vpc: Vpc) -> Setting:
        return made(aws, vpc, sessions="all")

    @pytest.fixture
    def stranger(self, vpc: Vpc) -> Stranger:
        def softened() -> None:
            told = vpc.policies(ROLE)[ALL]
            told["Statement"][0]["Action"] = "s3:*"
            write(vpc, ALL, told)

        return softened


def _dated(told: dict[str, Any], stamp: str) -> dict[str, Any]:
    told["Statement"][0]["Condition"]["DateLessThan"]["aws:TokenIssueTime"] = stamp
    return told


def test_sessions_until_now_are_denied_by_the_clock_of_aws_and_a_release_is_exact(
    setting: Setting, vpc: Vpc, aws: FaultProxy
) -> None:
    image = vpc.policies(ROLE)
    before, _ = contain(setting)
    policies = vpc.policies(ROLE)
    (statement,) = policies.pop(OLDER)["Statement"]
    assert policies == image == {"read-all": READ_ALL}
    assert (statement["Effect"], statement["Action"], statement["Resource"]) == ("Deny", "*", "*")
    stamp = statement["Condition"]["DateLessThan"]["aws:TokenIssueTime"]
    (put,) = aws.recorded("PutRolePolicy")
    assert abs(datetime.fromisoformat(stamp) - put.at) < timedelta(seconds=30)
    setting.apply(before)
    assert vpc.policies(ROLE) == image


def test_the_time_is_that_of_the_answer_and_not_of_this_machine(setting: Setting, aws: FaultProxy) -> None:
    observed(setting)
    aws.stale("GetRole", times=1)
    first = observed(setting).asked_at
    told = {"ResponseMetadata": {"HTTPHeaders": {"date": "Mon, 02 Mar 2026 13:00:00 +0100"}}}
    assert asked_at(told) == NOON
    assert first is not None
    for nothing in ({}, {"ResponseMetadata": {"HTTPHeaders": {"date": "yesterday"}}}):
        with pytest.raises(Transient, match="what time it is"):
            asked_at(nothing)


def test_the_plan_is_the_same_a_minute_later(setting: Setting) -> None:
    """The time is decided when it is applied: with it in the target, no approval would fit."""
    before = observed(setting)
    later = before.model_copy(update={"asked_at": NOON})
    assert setting.action.contained(before).part() == setting.action.contained(later).part()
    assert setting.action.caveats(before) == setting.action.caveats(later)


def test_another_time_in_the_policy_is_drift_and_is_put_right(setting: Setting, vpc: Vpc) -> None:
    _, target = contain(setting)
    write(vpc, OLDER, _dated(vpc.policies(ROLE)[OLDER], "2001-01-01T00:00:00Z"))
    assert observed(setting).policy is Policy.ALTERED
    setting.apply(target)
    assert reached(observed(setting), target)


def test_sessions_that_are_denied_already_and_later_ones_are_told_apart(setting: Setting, vpc: Vpc) -> None:
    contain(setting)
    before = observed(setting)
    said = {caveat.id: caveat.text for caveat in setting.action.caveats(before)}
    assert "later ones are not" in said["already-revoked"]


def test_all_sessions_can_be_denied_beside_the_older_ones(setting: Setting, vpc: Vpc) -> None:
    contain(setting)
    further = Setting(IamRoleRevokeSessions(sessions=Sessions.ALL), setting.cloud, setting.resource)
    before, _ = contain(further)
    assert set(vpc.policies(ROLE)) == {"read-all", OLDER, ALL}
    further.apply(before)
    assert set(vpc.policies(ROLE)) == {"read-all", OLDER}


@pytest.mark.parametrize(
    ("found", "sessions", "stands"),
    [
        (None, Sessions.OLDER, None),
        (document(Sessions.OLDER, NOON, "ours"), Sessions.OLDER, Policy.QUARANTINE),
        (document(Sessions.OLDER, NOON, "theirs"), Sessions.OLDER, Policy.FOREIGN),
        (document(Sessions.OLDER, NOON, "ours"), Sessions.ALL, Policy.ALTERED),
        (document(Sessions.ALL, NOON, "ours"), Sessions.ALL, Policy.QUARANTINE),
        (document(Sessions.ALL, NOON, "ours"), Sessions.OLDER, Policy.ALTERED),
        (_dated(document(Sessions.OLDER, NOON, "ours"), "2026-03-02T12:00:01Z"), Sessions.OLDER, Policy.ALTERED),
        (_dated(document(Sessions.OLDER, NOON, "ours"), "not a time"), Sessions.OLDER, Policy.ALTERED),
        (READ_ALL, Sessions.OLDER, Policy.FOREIGN),
        ({"Statement": [{"Condition": "odd"}, 5]}, Sessions.OLDER, Policy.FOREIGN),
        ({"Statement": {"Condition": {"DateLessThan": "odd"}}}, Sessions.ALL, Policy.FOREIGN),
    ],
)
def test_how_a_policy_under_our_name_stands(found: Any, sessions: Sessions, stands: Policy | None) -> None:
    assert read(found, sessions, "ours")[0] is stands


def test_a_sid_is_letters_and_digits() -> None:
    for sessions in Sessions:
        assert document(sessions, NOON, "a-b.c")["Statement"][0]["Sid"].isalnum()


def test_a_foreign_policy_is_neither_overwritten_nor_deleted(setting: Setting, vpc: Vpc) -> None:
    write(vpc, OLDER, READ_ALL)
    before = observed(setting)
    for policy in (Policy.QUARANTINE, None):
        with pytest.raises(Conflict, match="is not ours"):
            setting.apply(before.model_copy(update={"policy": policy}))
    assert vpc.policies(ROLE)[OLDER] == READ_ALL


@pytest.mark.parametrize(
    ("state", "word"),
    [
        (Revocation(role="AWSServiceRoleForECS", path="/aws-service-role/ecs.amazonaws.com/"), "service-linked"),
        (Revocation(role="AWSReservedSSO_Admin_0123456789abcdef"), "Identity Center"),
        (Revocation(role="OrganizationAccountAccessRole"), "management account"),
        (Revocation(role="quarantine", own=True), "acts with"),
        (Revocation(role=ROLE, policy=Policy.FOREIGN), "somebody else's"),
        (Revocation(role=ROLE, policy=Policy.ALTERED), "an earlier one of ours"),
    ],
)
def test_what_cannot_or_must_not_be_denied_is_refused_with_what_would_work(state: Revocation, word: str) -> None:
    refused = refusal(state)
    assert refused is not None
    assert word in refused.reason and state.role in refused.reason and refused.alternatives
    assert refusal(Revocation(role=ROLE)) is None


def test_our_own_role_is_known_by_who_we_are(setting: Setting, aws: FaultProxy) -> None:
    ours = provider(aws.url, role_arn=f"arn:aws:iam::{ACCOUNT}:role/{ROLE}").connect(EVERYWHERE)
    assert setting.action.observe(ours, setting.resource).own
    assert not observed(setting).own


def test_a_role_that_is_gone_or_another_one_by_now_is_gone(setting: Setting) -> None:
    for update in ({"uid": "AROAOTHER"}, {"id": "nobody", "uid": None}):
        with pytest.raises(Gone):
            setting.action.observe(setting.cloud, setting.resource.model_copy(update=update))


def test_what_stays_possible_is_said() -> None:
    common = {"propagation", "iam-rights", "chained-sessions"}
    said = {
        sessions: {caveat.id for caveat in IamRoleRevokeSessions(sessions=sessions).caveats(Revocation())}
        for sessions in Sessions
    }
    assert said == {Sessions.OLDER: common | {"later-sessions"}, Sessions.ALL: common | {"everybody"}}
