import json
from typing import Any

import pytest

from quarantine.action import reached
from quarantine.errors import Conflict, Denied, Gone, Unknown, Unsupported
from quarantine.model import Resource
from quarantine.testing.contract import CountingGate, ReversibleContract, Setting, Stranger
from quarantine_aws.cloud import GLOBAL, AwsCloud
from quarantine_aws.deny_policy import Policy, sid, standing
from quarantine_aws.iam_deny_role_session import IamDenyRoleSession
from quarantine_aws.iam_role import role_of
from quarantine_aws.provider import Aws
from quarantine_aws.role_session import RoleSession, deny_all, parts, refusal
from tests.aws.conftest import SCOPE, provider
from tests.testbed.aws import ACCOUNT, REGION
from tests.testbed.ec2 import READ_ALL, Vpc
from tests.testbed.proxy import FaultProxy

INSTANCE = "i-0a1b2c3d4e5f6a7b8"
NAME = f"cloud-quarantine-{INSTANCE}"
ROLE = "web-server"
EVERYWHERE = f"{ACCOUNT}/{GLOBAL}"


@pytest.fixture
def session(vpc: Vpc) -> Resource:
    identifier = vpc.role(ROLE)
    return Resource(
        kind="aws:iam-role-session", id=f"{ROLE}/{INSTANCE}", scope=EVERYWHERE, uid=f"{identifier}:{INSTANCE}"
    )


@pytest.fixture
def everywhere(aws: FaultProxy) -> AwsCloud:
    return provider(aws.url).connect(EVERYWHERE)


@pytest.fixture
def setting(everywhere: AwsCloud, session: Resource) -> Setting:
    return Setting(IamDenyRoleSession(), everywhere, session)


def observed(setting: Setting) -> RoleSession:
    state = setting.observe()
    assert isinstance(state, RoleSession)
    return state


def contain(setting: Setting) -> tuple[RoleSession, RoleSession]:
    before = observed(setting)
    target = setting.action.contained(before)
    setting.apply(target)
    assert reached(observed(setting), target)
    return before, target


def write(vpc: Vpc, document: dict[str, Any]) -> None:
    vpc.iam.put_role_policy(RoleName=ROLE, PolicyName=NAME, PolicyDocument=json.dumps(document))


class TestIamDenyRoleSession(ReversibleContract):
    @pytest.fixture
    def setting(self, everywhere: AwsCloud, session: Resource) -> Setting:
        return Setting(IamDenyRoleSession(), everywhere, session)

    @pytest.fixture
    def stranger(self, vpc: Vpc) -> Stranger:
        """Somebody lets one service through again."""
        document = deny_all(INSTANCE, "contract")
        document["Statement"][0]["NotAction"] = "s3:*"
        del document["Statement"][0]["Action"]
        return lambda: write(vpc, document)


# --- the policy -----------------------------------------------------------------------------------------------------


def test_everything_is_denied_to_the_sessions_of_this_instance_and_nothing_else_changes(
    setting: Setting, vpc: Vpc
) -> None:
    contain(setting)
    policies = vpc.policies(ROLE)
    assert policies.pop("read-all") == READ_ALL
    ((name, document),) = policies.items()
    assert name == NAME
    (statement,) = document["Statement"]
    assert (statement["Effect"], statement["Action"], statement["Resource"]) == ("Deny", "*", "*")
    assert statement["Condition"] == {"StringLike": {"aws:userid": f"*:{INSTANCE}"}}


def test_a_release_gives_the_role_back_byte_for_byte(setting: Setting, vpc: Vpc) -> None:
    image = vpc.policies(ROLE)
    before, _ = contain(setting)
    assert vpc.policies(ROLE) != image
    setting.apply(before)
    assert vpc.policies(ROLE) == image


def test_two_instances_of_one_role_are_cut_off_and_given_back_one_by_one(setting: Setting, vpc: Vpc) -> None:
    other = setting.resource.model_copy(update={"id": f"{ROLE}/i-00000000000000001", "uid": None})
    second = Setting(IamDenyRoleSession(), setting.cloud, other)
    before, _ = contain(setting)
    _, target = contain(second)
    assert len(vpc.policies(ROLE)) == 3
    setting.apply(before)
    assert reached(observed(second), target)
    assert len(vpc.policies(ROLE)) == 2


def test_the_sid_is_what_iam_allows_and_differs_between_installations() -> None:
    assert sid("a-b.c").isalnum() and sid("a-b.c").isascii()
    assert sid("one") != sid("two")


ALTERED = deny_all(INSTANCE, "ours") | {"Statement": [deny_all(INSTANCE, "ours")["Statement"][0] | {"Effect": "Allow"}]}


@pytest.mark.parametrize(
    ("document", "stands"),
    [
        (deny_all(INSTANCE, "ours"), Policy.QUARANTINE),
        (ALTERED, Policy.ALTERED),
        (ALTERED | {"Statement": ALTERED["Statement"][0]}, Policy.ALTERED),
        (deny_all("i-00000000000000001", "ours"), Policy.ALTERED),
        (deny_all(INSTANCE, "theirs"), Policy.FOREIGN),
        (READ_ALL, Policy.FOREIGN),
        ({}, Policy.FOREIGN),
        ({"Statement": ["odd", None]}, Policy.FOREIGN),
        ("not a document", Policy.FOREIGN),
    ],
)
def test_how_a_policy_under_our_name_stands(document: Any, stands: Policy) -> None:
    assert standing(document, deny_all(INSTANCE, "ours"), "ours") is stands


def test_a_policy_that_somebody_altered_is_drift_and_is_put_right(setting: Setting, vpc: Vpc) -> None:
    _, target = contain(setting)
    document = deny_all(INSTANCE, "contract")
    document["Statement"][0]["Effect"] = "Allow"
    write(vpc, document)
    assert observed(setting).policy is Policy.ALTERED
    assert not reached(observed(setting), target)
    setting.apply(target)
    assert reached(observed(setting), target)


def test_a_policy_that_somebody_removed_is_drift_and_a_release_has_nothing_to_do(setting: Setting, vpc: Vpc) -> None:
    before, target = contain(setting)
    vpc.iam.delete_role_policy(RoleName=ROLE, PolicyName=NAME)
    assert not reached(observed(setting), target)
    assert setting.apply(before).calls == []


@pytest.mark.parametrize("target", [Policy.QUARANTINE, None])
def test_a_foreign_policy_is_neither_overwritten_nor_deleted(setting: Setting, vpc: Vpc, target: Policy | None) -> None:
    write(vpc, READ_ALL)
    before = observed(setting)
    assert before.policy is Policy.FOREIGN
    with pytest.raises(Conflict, match="is not ours"):
        setting.apply(before.model_copy(update={"policy": target}))
    assert vpc.policies(ROLE)[NAME] == READ_ALL


def test_one_that_vanishes_while_we_delete_it_is_what_was_wanted(setting: Setting, vpc: Vpc) -> None:
    before, target = contain(setting)
    vpc.iam.delete_role_policy(RoleName=ROLE, PolicyName=NAME)
    setting.action.apply(setting.cloud.through(CountingGate(), setting.mark), setting.resource, target, before)
    assert reached(observed(setting), before)


def test_a_lost_answer_is_unknown_and_the_effect_is_found(setting: Setting, aws: FaultProxy) -> None:
    before = observed(setting)
    target = setting.action.contained(before)
    for goal, operation in ((target, "PutRolePolicy"), (before, "DeleteRolePolicy")):
        aws.lose_answer(operation)
        with pytest.raises(Unknown):
            setting.apply(goal)
        assert reached(observed(setting), goal)
        assert len(aws.recorded(operation)) == 1


# --- the role -------------------------------------------------------------------------------------------------------


def forget(vpc: Vpc) -> None:
    """Somebody deletes the role with all that hangs on it."""
    vpc.iam.remove_role_from_instance_profile(InstanceProfileName=ROLE, RoleName=ROLE)
    for name in vpc.policies(ROLE):
        vpc.iam.delete_role_policy(RoleName=ROLE, PolicyName=name)
    vpc.iam.delete_role(RoleName=ROLE)


def test_a_role_that_is_gone_does_not_end_the_case_of_the_instance(setting: Setting, vpc: Vpc) -> None:
    """Gone would close it, with the instance's interfaces still in quarantine: it is drift, and can be released."""
    before, target = contain(setting)
    forget(vpc)
    now = observed(setting)
    assert not now.role_exists and not reached(now, target)
    assert setting.apply(before).calls == []
    with pytest.raises(Conflict, match="NoSuchEntity"):
        setting.apply(target)
    refused = setting.action.refusal(now)
    assert refused is not None and ROLE in refused.reason


def test_a_role_made_again_under_the_same_name_is_another_one(setting: Setting, vpc: Vpc) -> None:
    forget(vpc)
    vpc.iam.delete_instance_profile(InstanceProfileName=ROLE)
    vpc.role(ROLE)
    assert not observed(setting).role_exists


@pytest.mark.parametrize(
    ("state", "word"),
    [
        (RoleSession(role="AWSServiceRoleForEC2Spot", path="/aws-service-role/spot.amazonaws.com/"), "service-linked"),
        (RoleSession(role="AWSReservedSSO_Admin_0123456789abcdef"), "Identity Center"),
        (RoleSession(role="quarantine", own=True), "acts with"),
        (RoleSession(role=ROLE, policy=Policy.FOREIGN), "somebody else's"),
        (RoleSession(role=ROLE, policy=Policy.ALTERED), "an earlier one of ours"),
        (RoleSession(role=ROLE, role_exists=False), "not there any more"),
    ],
)
def test_what_cannot_or_must_not_be_denied_is_refused_with_what_would_work(state: RoleSession, word: str) -> None:
    refused = refusal(state)
    assert refused is not None
    assert word in refused.reason and state.role in refused.reason
    assert any("isolate" in instead for instead in refused.alternatives)
    assert refusal(RoleSession(role=ROLE)) is None
    assert refusal(RoleSession(role=ROLE, policy=Policy.QUARANTINE)) is None


def test_the_path_of_the_role_is_read(setting: Setting, vpc: Vpc, everywhere: AwsCloud) -> None:
    vpc.role("AWSServiceRoleForSpot", path="/aws-service-role/spot.amazonaws.com/")
    spot = setting.resource.model_copy(update={"id": f"AWSServiceRoleForSpot/{INSTANCE}", "uid": None})
    state = setting.action.observe(everywhere, spot)
    assert setting.action.refusal(state) is not None


def test_our_own_role_is_known_by_who_we_are(setting: Setting, vpc: Vpc, aws: FaultProxy) -> None:
    """The provider assumes the role that the instance has, too."""
    ours = provider(aws.url, role_arn=f"arn:aws:iam::{ACCOUNT}:role/{ROLE}").connect(EVERYWHERE)
    state = setting.action.observe(ours, setting.resource)
    assert state.own
    assert not observed(setting).own


@pytest.mark.parametrize(
    ("principal", "role"),
    [
        ("arn:aws:sts::123456789012:assumed-role/quarantine/case-1", "quarantine"),
        ("arn:aws-cn:sts::123456789012:assumed-role/web/i-0a1b2c3d4e5f6a7b8", "web"),
        ("arn:aws:iam::123456789012:user/quarantine", ""),
        ("arn:aws:iam::123456789012:root", ""),
        ("", ""),
    ],
)
def test_the_role_in_a_principal(principal: str, role: str) -> None:
    assert role_of(principal) == role


@pytest.mark.parametrize("name", ["web", "web/", "/i-1", "web/role", "arn:aws:iam::1:role/web"])
def test_an_id_that_is_not_role_and_instance_is_refused_before_anything_is_asked(
    setting: Setting, aws: FaultProxy, name: str
) -> None:
    with pytest.raises(Unsupported, match="ROLE/i-"):
        parts(setting.resource.model_copy(update={"id": name}))
    with pytest.raises(Unsupported):
        setting.action.observe(setting.cloud, setting.resource.model_copy(update={"id": name}))
    assert aws.recorded() == []


def test_what_stays_possible_is_said() -> None:
    said = {caveat.id for caveat in IamDenyRoleSession().caveats(RoleSession())}
    assert said == {"propagation", "iam-rights", "chained-sessions", "metadata-reachable"}


def test_a_missing_permission_is_named(setting: Setting, aws: FaultProxy) -> None:
    target = setting.action.contained(observed(setting))
    body = "<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>"
    aws.answer("PutRolePolicy", 403, {"Content-Type": "text/xml"}, body)
    with pytest.raises(Denied, match="iam:PutRolePolicy"):
        setting.apply(target)


# --- from the instance to its role ----------------------------------------------------------------------------------


def related(cloud: AwsCloud, instance: str) -> list[Resource]:
    relation = Aws.relations["role-sessions"]
    return list(relation.find(cloud, Resource(kind="aws:ec2-instance", id=instance, scope=SCOPE)))


def test_the_role_is_found_through_the_instance_profile(cloud: AwsCloud, vpc: Vpc, aws: FaultProxy) -> None:
    identifier = vpc.role(ROLE, path="/servers/")
    instance = vpc.instance(ROLE)
    (found,) = related(cloud, instance)
    assert (found.kind, found.id, found.scope) == ("aws:iam-role-session", f"{ROLE}/{instance}", EVERYWHERE)
    assert found.uid == f"{identifier}:{instance}"
    assert provider(aws.url).resolve(provider(aws.url).connect(found.scope), found)[0] == found


def test_an_instance_without_a_profile_or_with_an_empty_one_has_none(cloud: AwsCloud, vpc: Vpc) -> None:
    assert related(cloud, vpc.instance()) == []
    vpc.role(ROLE)
    instance = vpc.instance(ROLE)
    vpc.iam.remove_role_from_instance_profile(InstanceProfileName=ROLE, RoleName=ROLE)
    assert related(cloud, instance) == []


def test_a_profile_that_somebody_deleted_is_no_reason_to_leave_the_instance_open(cloud: AwsCloud, vpc: Vpc) -> None:
    vpc.role(ROLE)
    instance = vpc.instance(ROLE)
    vpc.iam.remove_role_from_instance_profile(InstanceProfileName=ROLE, RoleName=ROLE)
    vpc.iam.delete_instance_profile(InstanceProfileName=ROLE)
    assert related(cloud, instance) == []


def test_an_instance_that_is_gone_has_no_relations(cloud: AwsCloud) -> None:
    with pytest.raises(Gone):
        related(cloud, INSTANCE)


def test_the_relation_asks_for_what_it_says(cloud: AwsCloud, vpc: Vpc) -> None:
    vpc.role(ROLE)
    setting = Setting(IamDenyRoleSession(), cloud, Resource(kind="aws:ec2-instance", id="i-1", scope=SCOPE))
    related(cloud.through(CountingGate(0), setting.mark, setting.used.append), vpc.instance(ROLE))
    assert {call.permission for call in setting.used} == set(Aws.relations["role-sessions"].permissions)


# --- the scope of what is in no region ------------------------------------------------------------------------------


def test_an_account_is_reached_without_a_region_from_its_first_one(aws: FaultProxy, session: Resource) -> None:
    aws_provider = provider(aws.url)
    cloud = aws_provider.connect(EVERYWHERE)
    assert (cloud.account, cloud.region) == (ACCOUNT, REGION)
    assert aws_provider.scopes() == (SCOPE,), "nobody has to configure it, and the account pin stays what it is"
    assert aws_provider.identity(cloud).account == ACCOUNT
    cloud.read("iam:GetRole", "iam.get_role", RoleName=ROLE)
    (call,) = aws.recorded("GetRole")
    assert call.service == "iam"
