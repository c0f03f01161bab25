import json
from typing import Any

import pytest

from quarantine.action import Refusal, reached, three_way
from quarantine.errors import Conflict, Denied, Gone
from quarantine.model import Resource
from quarantine.testing.contract import Setting, Stranger
from quarantine_aws.cloud import GLOBAL
from quarantine_aws.deny_policy import Policy
from quarantine_aws.iam_user import ACTIVE, INACTIVE, UserKeys, user_of
from quarantine_aws.iam_user_disable_keys import IamUserDisableKeys
from quarantine_aws.provider import Aws, AwsAccount, AwsSettings
from tests.aws.conftest import provider
from tests.aws.faults import AwsContract, changes
from tests.testbed.aws import ACCOUNT, REGION
from tests.testbed.ec2 import READ_ALL
from tests.testbed.proxy import FaultProxy

EVERYWHERE = f"{ACCOUNT}/{GLOBAL}"
USER = "deploy"
NAME = "cloud-quarantine"
DENIED = "<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>"


class Person:
    """A user with a policy of its own and two keys, the second of them inactive; past the proxy."""

    def __init__(self, iam: Any) -> None:
        self.iam = iam
        self.id = iam.create_user(UserName=USER, Path="/robots/")["User"]["UserId"]
        iam.put_user_policy(UserName=USER, PolicyName="read-all", PolicyDocument=json.dumps(READ_ALL))
        self.used, self.unused = self.key(), self.key()
        iam.update_access_key(UserName=USER, AccessKeyId=self.unused["AccessKeyId"], Status=INACTIVE)

    @property
    def active(self) -> str:
        return str(self.used["AccessKeyId"])

    def key(self) -> dict[str, str]:
        made: dict[str, str] = self.iam.create_access_key(UserName=USER)["AccessKey"]
        return made

    def delete(self, key: str) -> None:
        self.iam.delete_access_key(UserName=USER, AccessKeyId=key)

    def image(self) -> bytes:
        """Byte for byte what a release must give back."""
        names = sorted(self.iam.list_user_policies(UserName=USER)["PolicyNames"])
        policies = [self.iam.get_user_policy(UserName=USER, PolicyName=name)["PolicyDocument"] for name in names]
        keys = self.iam.list_access_keys(UserName=USER)["AccessKeyMetadata"]
        return json.dumps([names, policies, keys], sort_keys=True, default=str).encode()

    def deny(self, document: dict[str, Any]) -> None:
        self.iam.put_user_policy(UserName=USER, PolicyName=NAME, PolicyDocument=json.dumps(document))


@pytest.fixture
def person(client: Any, aws: FaultProxy) -> Person:
    return Person(client("iam"))


@pytest.fixture
def setting(aws: FaultProxy, person: Person) -> Setting:
    user = Resource(kind="aws:iam-user", id=USER, scope=EVERYWHERE, uid=person.id)
    return Setting(IamUserDisableKeys(), provider(aws.url).connect(EVERYWHERE), user)


def observed(setting: Setting) -> UserKeys:
    state = setting.observe()
    assert isinstance(state, UserKeys)
    return state


def contain(setting: Setting) -> tuple[UserKeys, UserKeys]:
    before = observed(setting)
    target = setting.action.contained(before)
    setting.apply(target)
    assert reached(observed(setting), target)
    return before, target


class TestIamUserDisableKeys(AwsContract):
    @pytest.fixture
    def setting(self, aws: FaultProxy, person: Person) -> Setting:
        user = Resource(kind="aws:iam-user", id=USER, scope=EVERYWHERE, uid=person.id)
        return Setting(IamUserDisableKeys(), provider(aws.url).connect(EVERYWHERE), user)

    @pytest.fixture
    def stranger(self, person: Person) -> Stranger:
        """Who still has the rights deletes a key and makes another."""

        def key_rotated() -> None:
            person.delete(person.unused["AccessKeyId"])
            person.key()

        return key_rotated


def test_a_release_gives_the_user_back_byte_for_byte(setting: Setting, person: Person) -> None:
    image = person.image()
    before, _ = contain(setting)
    assert person.image() != image
    setting.apply(before)
    assert person.image() == image


def test_the_denial_is_the_first_change_and_the_last_to_go(setting: Setting, aws: FaultProxy) -> None:
    before, _ = contain(setting)
    assert [call.operation for call in changes(aws)] == ["PutUserPolicy", "UpdateAccessKey"]
    aws.forget()
    setting.apply(before)
    assert [call.operation for call in changes(aws)] == ["UpdateAccessKey", "DeleteUserPolicy"]


def test_everything_is_denied_and_the_key_that_was_inactive_is_not_touched(
    setting: Setting, person: Person, aws: FaultProxy
) -> None:
    before, target = contain(setting)
    assert before.keys == {person.active: ACTIVE, person.unused["AccessKeyId"]: INACTIVE}
    assert set(target.keys.values()) == {INACTIVE}
    (change,) = aws.recorded("UpdateAccessKey")
    assert change.form["AccessKeyId"] == person.active
    (statement,) = person.iam.get_user_policy(UserName=USER, PolicyName=NAME)["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Action"], statement["Resource"]) == ("Deny", "*", "*")
    assert "Condition" not in statement


def test_a_key_that_has_expired_stays_so() -> None:
    before = UserKeys(keys={"AKIA1": "Expired", "AKIA2": ACTIVE})
    assert IamUserDisableKeys().contained(before).keys == {"AKIA1": "Expired", "AKIA2": INACTIVE}


def test_a_user_without_keys_is_denied_all_the_same(setting: Setting, person: Person) -> None:
    person.delete(person.active)
    person.delete(person.unused["AccessKeyId"])
    before, _ = contain(setting)
    assert before.keys == {}


def test_a_key_made_while_it_is_held_is_drift_that_a_person_looks_at(setting: Setting, person: Person) -> None:
    """It has no before-image, so it is not ours to switch off; the denial holds for it too."""
    before, target = contain(setting)
    person.delete(person.unused["AccessKeyId"])
    new = person.key()["AccessKeyId"]
    assert not reached(observed(setting), target)
    assert setting.apply(target).calls == []
    merged, kept = three_way(before, target, observed(setting))
    assert {(item.path, item.after) for item in kept} >= {(("keys", new), ACTIVE)}
    setting.apply(merged)
    assert observed(setting).keys == {person.active: ACTIVE, new: ACTIVE}


@pytest.mark.parametrize("target", [Policy.QUARANTINE, None])
def test_a_foreign_policy_is_neither_overwritten_nor_deleted_and_no_key_is_touched_before(
    setting: Setting, person: Person, target: Policy | None
) -> None:
    person.deny(READ_ALL)
    before = observed(setting)
    assert before.policy is Policy.FOREIGN
    refused = setting.action.refusal(before)
    assert isinstance(refused, Refusal) and "somebody else's" in refused.reason
    with pytest.raises(Conflict, match="is not ours"):
        setting.apply(before.model_copy(update={"policy": target}))
    assert observed(setting).keys == before.keys
    assert person.iam.get_user_policy(UserName=USER, PolicyName=NAME)["PolicyDocument"] == READ_ALL


def test_a_denial_that_somebody_softened_is_drift_and_is_put_right(setting: Setting, person: Person) -> None:
    _, target = contain(setting)
    document = person.iam.get_user_policy(UserName=USER, PolicyName=NAME)["PolicyDocument"]
    document["Statement"][0]["Action"] = "s3:*"
    person.deny(document)
    assert observed(setting).policy is Policy.ALTERED
    setting.apply(target)
    assert reached(observed(setting), target)


def test_a_user_made_again_under_the_same_name_is_another_one(setting: Setting, person: Person) -> None:
    someone = setting.resource.model_copy(update={"uid": "AIDAOTHER"})
    with pytest.raises(Gone, match="another one has its name"):
        setting.action.observe(setting.cloud, someone)
    with pytest.raises(Gone):
        setting.action.observe(setting.cloud, setting.resource.model_copy(update={"id": "nobody", "uid": None}))


def test_who_we_are_ourselves_is_refused(setting: Setting, person: Person, aws: FaultProxy, monkeypatch: Any) -> None:
    assert not observed(setting).own
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", person.active)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", person.used["SecretAccessKey"])
    settings = AwsSettings(accounts={ACCOUNT: AwsAccount(regions=(REGION,))}, endpoint_url=aws.url)
    state = setting.action.observe(Aws(settings).connect(EVERYWHERE), setting.resource)
    assert state.own
    refused = setting.action.refusal(state)
    assert refused is not None and USER in refused.reason and refused.alternatives


@pytest.mark.parametrize(
    ("principal", "user"),
    [
        ("arn:aws:iam::123456789012:user/robots/deploy", "deploy"),
        ("arn:aws-us-gov:iam::123456789012:user/deploy", "deploy"),
        ("arn:aws:iam::123456789012:root", ""),
        ("arn:aws:sts::123456789012:assumed-role/deploy/session", ""),
        ("arn:aws:sts::123456789012:federated-user/deploy", ""),
    ],
)
def test_the_user_in_a_principal(principal: str, user: str) -> None:
    assert user_of(principal) == user


def test_what_stays_possible_and_when_the_keys_were_used_is_said(setting: Setting, person: Person) -> None:
    person.iam.create_login_profile(UserName=USER, Password="correct-Horse-1")
    device = person.iam.create_virtual_mfa_device(VirtualMFADeviceName="phone")["VirtualMFADevice"]["SerialNumber"]
    person.iam.enable_mfa_device(
        UserName=USER, SerialNumber=device, AuthenticationCode1="123456", AuthenticationCode2="654321"
    )
    before = observed(setting)
    said = {caveat.id: caveat.text for caveat in setting.action.caveats(before)}
    keys = {f"last-used-{key['AccessKeyId']}" for key in (person.used, person.unused)}
    always = {"propagation", "iam-rights", "assumed-roles", "what-was-made"}
    assert set(said) == always | {"console", "mfa-devices"} | keys
    assert device in said["mfa-devices"]
    assert "never used" in said[f"last-used-{person.active}"]
    used = before.model_copy(update={"last_used": {person.active: "2026-03-02 11:31 UTC, s3 in eu-west-1"}})
    said = {caveat.id: caveat.text for caveat in setting.action.caveats(used)}
    assert said[f"last-used-{person.active}"].endswith("used last on 2026-03-02.")


def test_the_last_use_is_read(setting: Setting, person: Person, aws: FaultProxy) -> None:
    body = (
        "<GetAccessKeyLastUsedResponse><GetAccessKeyLastUsedResult><AccessKeyLastUsed><Region>eu-west-1</Region>"
        "<LastUsedDate>2026-03-02T11:31:00Z</LastUsedDate><ServiceName>s3</ServiceName></AccessKeyLastUsed>"
        "</GetAccessKeyLastUsedResult></GetAccessKeyLastUsedResponse>"
    )
    aws.answer("GetAccessKeyLastUsed", 200, {"Content-Type": "text/xml"}, body, times=2)
    assert set(observed(setting).last_used.values()) == {"2026-03-02 11:31 UTC, s3 in eu-west-1"}


@pytest.mark.parametrize(
    ("operation", "fact"),
    [
        ("GetAccessKeyLastUsed", "last_used"),
        ("GetLoginProfile", "console"),
        ("ListMFADevices", "mfa_devices"),
        ("ListGroupsForUser", "groups"),
    ],
)
def test_a_fact_that_may_not_be_read_is_a_caveat_and_no_obstacle(
    setting: Setting, aws: FaultProxy, operation: str, fact: str
) -> None:
    aws.answer(operation, 403, {"Content-Type": "text/xml"}, DENIED, times=10)
    before = observed(setting)
    said = {caveat.id: caveat.text for caveat in setting.action.caveats(before)}
    assert f"iam:{operation}" in said[f"unread-{fact}"]
    assert not any(key.startswith("last-used-") for key in said) or fact != "last_used"
    contain(setting)


def test_what_must_be_read_is_an_obstacle(setting: Setting, aws: FaultProxy) -> None:
    aws.answer("ListAccessKeys", 403, {"Content-Type": "text/xml"}, DENIED)
    with pytest.raises(Denied, match="iam:ListAccessKeys"):
        setting.action.observe(setting.cloud, setting.resource)
