"""An instance that does what it should not: its interfaces go into quarantine, and its role's sessions are cut off."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from quarantine.case import Case, Outcome, Reason, Status
from quarantine_aws.cloud import SIGNATURE
from tests.acceptance.conftest import SCOPE, Aws
from tests.acceptance.product import Product
from tests.acceptance.test_kill import changes
from tests.testbed.aws import ACCOUNT, REGION
from tests.testbed.ec2 import READ_ALL, Vpc
from tests.testbed.poll import until

Start = Callable[..., Product]
ROLE = "web-server"


@pytest.fixture
def vpc(aws: Aws) -> Vpc:
    return Vpc(aws.moto)


@pytest.fixture
def instance(vpc: Vpc) -> str:
    """Two interfaces, and a role."""
    vpc.role(ROLE)
    return vpc.instance(ROLE)


def guardduty(instance: str) -> dict[str, Any]:
    """A finding about an instance, as EventBridge brings it."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    finding = {
        "schemaVersion": "2.0",
        "accountId": ACCOUNT,
        "region": REGION,
        "partition": "aws",
        "id": f"finding-{instance}",
        "type": "Backdoor:EC2/C&CActivity.B!DNS",
        "resource": {"resourceType": "Instance", "instanceDetails": {"instanceId": instance, "tags": []}},
        "service": {"serviceName": "guardduty", "eventLastSeen": now, "archived": False, "count": 3},
        "severity": 8,
        "createdAt": now,
        "updatedAt": now,
        "title": "EC2 instance is querying a domain name associated with a command and control server.",
    }
    return {"version": "0", "id": "1", "detail-type": "GuardDuty Finding", "source": "aws.guardduty", "detail": finding}


def contained(product: Product, instance: str) -> Case:
    """A new case about the instance, carried on by a person's yes until it is contained."""
    known = {case.id for case in product.cases()}
    assert product.send_with_token(guardduty(instance), "guardduty").status == 202
    (case,) = until(lambda: [case for case in product.cases() if case.id not in known], seconds=20)
    product.wait(case.id, Status.AWAITING_APPROVAL)
    product.say("case", "approve", case.id, "--yes", "--no-wait")
    return product.wait(case.id, Status.CONTAINED)


def released(product: Product, case: Case) -> None:
    product.say("case", "release", case.id, "--no-wait")
    assert product.wait(case.id, Status.CLOSED).outcome is Outcome.RELEASED


def isolated(vpc: Vpc, instance: str) -> bool:
    """Read at the provider: every interface in our group alone, and the group without a rule in either direction."""
    group = vpc.quarantine_group()
    empty = not group["IpPermissions"] and not group["IpPermissionsEgress"]
    return empty and vpc.groups(instance) == [[group["GroupId"]]] * len(vpc.interfaces(instance))


def denied(vpc: Vpc, instance: str) -> bool:
    policies = vpc.policies(ROLE)
    assert policies["read-all"] == READ_ALL, "the role's own policies stay"
    statements = [policy["Statement"][0] for name, policy in policies.items() if instance in name]
    return [statement["Effect"] for statement in statements] == ["Deny"]


def test_an_instance_in_service_is_replaced_isolated_after_approval_and_given_back_byte_for_byte(
    vpc: Vpc, instance: str, on_aws: Start
) -> None:
    groups = vpc.serve(instance)
    vpc.add_volume(instance)
    before, service = vpc.image(instance, ROLE), vpc.service(instance, *groups)
    product = on_aws()
    assert product.send_with_token(guardduty(instance), "guardduty").status == 202
    case = product.wait(product.only_case().id, Status.AWAITING_APPROVAL)
    assert vpc.image(instance, ROLE) == before, "nothing is touched before a person has said yes"
    assert vpc.quarantine_groups() == []
    plan = product.say("case", "show", case.id)
    assert "desired capacity of shop by one" in plan, "and what a release cannot give back"
    assert "tracked-connections" in plan or "350 s on Nitro v6" in plan, "what this does not cut is said beforehand"

    product.say("case", "approve", case.id, "--yes", "--no-wait")
    case = product.wait(case.id, Status.CONTAINED)
    assert isolated(vpc, instance) and denied(vpc, instance)
    assert product.types(case.id).count("verified") == 4
    assert vpc.service(instance, *groups) == ["Standby", [], []]
    assert sorted(vpc.members().values()) == ["InService", "Standby"], "its group replaces it and does not end it"
    with pytest.raises(vpc.ec2.exceptions.ClientError, match="OperationNotPermitted"):
        vpc.ec2.terminate_instances(InstanceIds=[instance])

    released(product, case)
    assert vpc.image(instance, ROLE) == before and vpc.service(instance, *groups) == service
    product.assert_whole()


def test_two_cases_share_one_group_and_the_release_of_the_first_leaves_the_second_isolated(
    vpc: Vpc, instance: str, on_aws: Start
) -> None:
    other = vpc.instance(ROLE)
    before = {name: vpc.image(name) for name in (instance, other)}
    roles = vpc.policies(ROLE)
    product = on_aws()
    first, second = contained(product, instance), contained(product, other)
    assert isolated(vpc, instance) and isolated(vpc, other)
    assert denied(vpc, instance) and denied(vpc, other)
    assert left_over(product) == []

    released(product, first)
    assert vpc.image(instance) == before[instance]
    assert isolated(vpc, other) and denied(vpc, other) and not denied(vpc, instance)
    assert left_over(product) == [], "the second case still holds it"

    released(product, second)
    assert vpc.image(other) == before[other]
    assert vpc.policies(ROLE) == roles
    assert left_over(product) == [vpc.quarantine_group()["GroupId"]]
    product.assert_whole()


def left_over(product: Product) -> list[str]:
    """What `quarantine sweep` finds: the groups of this installation that no interface is in."""
    return [
        item["resource"].removeprefix("aws:security-group/") for item in json.loads(product.say("sweep", "-o", "json"))
    ]


def test_a_sweep_removes_the_group_once_nothing_is_in_it(vpc: Vpc, instance: str, on_aws: Start) -> None:
    product = on_aws(approvals={"second_person": False})
    released(product, contained(product, instance))
    assert left_over(product) == [vpc.quarantine_group()["GroupId"]]
    product.run("sweep", "--apply")
    (removal,) = [found for found in product.cases() if found.playbook == "remove-quarantine-group"]
    assert product.wait(removal.id, Status.CLOSED).outcome is Outcome.ONE_WAY_DONE
    assert vpc.quarantine_groups() == []
    assert left_over(product) == []
    contained(product, instance)
    assert isolated(vpc, instance), "the next case makes a new one"
    product.assert_whole()


def test_the_group_is_not_removed_while_a_case_or_an_interface_needs_it(vpc: Vpc, instance: str, on_aws: Start) -> None:
    product = on_aws(approvals={"second_person": False})
    case = contained(product, instance)
    group = vpc.quarantine_group()["GroupId"]
    removal = ("run", "remove-quarantine-group", f"aws:security-group/{group}", "--scope", SCOPE, "--apply")
    product.run(*removal)
    (refused,) = [found for found in product.cases() if found.id != case.id]
    assert refused.outcome is Outcome.REFUSED and case.id in refused.sentence

    released(product, case)
    second = vpc.interfaces(instance)[1]
    vpc.put(second, group)
    product.run(*removal)
    (held,) = [found for found in product.cases() if found.id not in (case.id, refused.id)]
    assert held.status is Status.PROPOSED and f"still isolates {second}" in held.sentence

    vpc.put(second, vpc.db)
    product.say("case", "retry", held.id, "--no-wait")
    assert product.wait(held.id, Status.CLOSED).outcome is Outcome.ONE_WAY_DONE
    assert vpc.quarantine_groups() == []
    product.assert_whole()


def test_a_removal_needs_a_second_person_where_one_is_asked_for(vpc: Vpc, instance: str, on_aws: Start) -> None:
    """It cannot be undone: who asked for it does not approve it."""
    product = on_aws()
    released(product, contained(product, instance))
    product.run("sweep", "--apply")
    (removal,) = [found for found in product.cases() if found.playbook == "remove-quarantine-group"]
    assert removal.status is Status.AWAITING_APPROVAL
    assert "somebody else must approve it" in product.run("case", "approve", removal.id, "--no-wait").stderr
    assert len(vpc.quarantine_groups()) == 1


def opened_group(vpc: Vpc, instance: str) -> None:
    vpc.open_ssh(vpc.quarantine_group()["GroupId"])


def moved_interface(vpc: Vpc, instance: str) -> None:
    vpc.put(vpc.interfaces(instance)[1], vpc.admin)


def removed_policy(vpc: Vpc, instance: str) -> None:
    vpc.iam.delete_role_policy(RoleName=ROLE, PolicyName=f"cloud-quarantine-{instance}")


def altered_policy(vpc: Vpc, instance: str) -> None:
    name = f"cloud-quarantine-{instance}"
    document = vpc.policies(ROLE)[name]
    document["Statement"][0]["Condition"] = {"Bool": {"aws:ViaAWSService": "true"}}
    vpc.iam.put_role_policy(RoleName=ROLE, PolicyName=name, PolicyDocument=json.dumps(document))


@pytest.mark.parametrize("meddle", [opened_group, moved_interface, removed_policy, altered_policy])
def test_what_somebody_undoes_is_seen_put_right_on_request_and_still_released_exactly(
    vpc: Vpc, instance: str, on_aws: Start, meddle: Callable[[Vpc, str], None]
) -> None:
    before = vpc.image(instance, ROLE)
    product = on_aws(watch={"every": "1s"})
    case = contained(product, instance)
    meddle(vpc, instance)
    drifted = product.wait(case.id, Status.NEEDS_HUMAN, seconds=60)
    assert drifted.reason is Reason.DRIFTED

    product.say("case", "retry", case.id, "--no-wait")
    product.wait(case.id, Status.CONTAINED, seconds=60)
    assert isolated(vpc, instance) and denied(vpc, instance)
    released(product, case)
    assert vpc.image(instance, ROLE) == before, "the first before-image stays, whatever was seen later"


def test_an_interface_that_is_attached_while_it_is_held_is_seen(vpc: Vpc, instance: str, on_aws: Start) -> None:
    product = on_aws(watch={"every": "1s"})
    case = contained(product, instance)
    third = vpc.attach(instance)
    drifted = product.wait(case.id, Status.NEEDS_HUMAN, seconds=60)
    assert drifted.reason is Reason.DRIFTED and third in drifted.sentence
    released(product, case)
    assert vpc.groups(instance) == [sorted([vpc.web, vpc.db]), [vpc.db], [vpc.web]]


def test_what_a_colleague_chose_meanwhile_stays_and_is_reported(vpc: Vpc, instance: str, on_aws: Start) -> None:
    product = on_aws(watch={"every": "1h"})
    case = contained(product, instance)
    second = vpc.interfaces(instance)[1]
    vpc.put(second, vpc.admin)
    released(product, case)
    assert vpc.groups(instance) == [sorted([vpc.web, vpc.db]), [vpc.admin]]
    kept = next(item.event for item in product.events(case.id) if item.event.type == "released" and item.event.kept)
    assert [difference.path for difference in kept.kept] == [("interfaces", second)]


def test_a_role_that_somebody_deletes_leaves_a_case_that_can_be_released(
    vpc: Vpc, instance: str, on_aws: Start
) -> None:
    """It is not the case's resource that is gone: closing the case would leave the instance in quarantine for ever."""
    before = vpc.image(instance)
    product = on_aws(watch={"every": "1s"})
    case = contained(product, instance)
    vpc.iam.remove_role_from_instance_profile(InstanceProfileName=ROLE, RoleName=ROLE)
    for name in vpc.policies(ROLE):
        vpc.iam.delete_role_policy(RoleName=ROLE, PolicyName=name)
    vpc.iam.delete_role(RoleName=ROLE)
    drifted = product.wait(case.id, Status.NEEDS_HUMAN, seconds=60)
    assert drifted.reason is Reason.DRIFTED
    assert isolated(vpc, instance)
    released(product, case)
    assert vpc.image(instance) == before


def test_an_instance_that_is_terminated_leaves_a_case_until_its_role_is_given_back(
    vpc: Vpc, instance: str, on_aws: Start
) -> None:
    """Copies of its credentials stay denied, and somebody is told, until a person releases that too."""
    product = on_aws(watch={"every": "1s"})
    case = contained(product, instance)
    vpc.ec2.modify_instance_attribute(InstanceId=instance, DisableApiTermination={"Value": False})
    vpc.ec2.terminate_instances(InstanceIds=[instance])
    stopped = product.wait(case.id, Status.NEEDS_HUMAN, seconds=60)
    assert stopped.reason is Reason.DRIFTED and "is not there any more" in stopped.sentence
    assert denied(vpc, instance)
    product.say("case", "release", case.id, "--no-wait")
    assert product.wait(case.id, Status.CLOSED).outcome is Outcome.TARGET_GONE
    assert not denied(vpc, instance)


@pytest.mark.parametrize("after_the_effect", [False, True], ids=["before the effect", "after the effect"])
@pytest.mark.parametrize(
    "operation",
    ["CreateSecurityGroup", "RevokeSecurityGroupEgress", "ModifyNetworkInterfaceAttribute", "PutRolePolicy"],
)
def test_killed_between_two_changes_of_the_containment(
    aws: Aws, vpc: Vpc, instance: str, on_aws: Start, operation: str, after_the_effect: bool
) -> None:
    """kill -9 while the call is on its way, or its answer is. What follows waits as long as EC2 may take."""
    before = vpc.image(instance, ROLE)
    product = on_aws()
    held = (aws.proxy.hold_answer if after_the_effect else aws.proxy.hold)(operation)
    product.send_with_token(guardduty(instance), "guardduty")
    case = product.wait(product.only_case().id, Status.AWAITING_APPROVAL)
    product.say("case", "approve", case.id, "--yes", "--no-wait")
    held.wait_reached()
    product.kill()
    held.abandon()

    product.start()
    product.wait(case.id, Status.CONTAINED, seconds=150)
    assert isolated(vpc, instance) and denied(vpc, instance)
    done = [call.operation for call in changes(aws.proxy)]
    assert done.count("CreateSecurityGroup") == 1, "there is one group, and it was made once"
    assert done.count("ModifyNetworkInterfaceAttribute") == 2 and done.count("PutRolePolicy") == 1
    assert product.release_later(case.id, SIGNATURE).outcome is Outcome.RELEASED
    assert vpc.image(instance, ROLE) == before
    product.assert_whole()
