import copy
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quarantine.action import GONE, State, reached, three_way
from quarantine.errors import Conflict, Denied, Pending
from quarantine.model import Resource
from quarantine.testing.contract import CountingGate, ReversibleContract, Setting, Stranger
from quarantine_azure.cloud import AzureCloud
from quarantine_azure.nsg_close_rule import NsgCloseRule
from quarantine_azure.security_rule import OpenRule, is_open
from tests.azure.conftest import SCOPE, ask_about_operations
from tests.testbed.arm import SUBSCRIPTION, Arm, Style, changes_of
from tests.testbed.arm_network import Body

ASG = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/Shop-RG/providers/Microsoft.Network/applicationSecurityGroups/web"
RULE = Resource(kind="azure:nsg-rule", id="web-nsg/allow-ssh", scope=SCOPE)


def rule(name: str, priority: int, **said: Any) -> Body:
    properties = {
        "access": "Allow", "direction": "Inbound", "priority": priority, "protocol": "Tcp", "sourceAddressPrefix": "*",
        "sourcePortRange": "*", "destinationPortRange": "22",
    }  # fmt: skip
    to: Body = {} if "destinationApplicationSecurityGroups" in said else {"destinationAddressPrefix": "*"}
    return {"name": name, "properties": {**properties, **to, **said}}


SSH = rule("allow-ssh", 310, description="for an afternoon", destinationApplicationSecurityGroups=[{"id": ASG}])
WEB = rule("allow-web", 320, destinationPortRange="443", sourceAddressPrefix="Internet")
OFFICE = rule("office", 300, sourceAddressPrefix="203.0.113.0/24")


@pytest.fixture
def group(arm: Arm) -> str:
    return arm.make_group("Web-NSG", rules=[OFFICE, SSH, WEB], team="shop")


@pytest.fixture
def closing(arm: Arm, group: str, cloud: AzureCloud) -> Setting:
    arm.granted = [{"actions": list(NsgCloseRule().permissions()), "notActions": []}]
    return Setting(NsgCloseRule(), cloud, RULE, settle=arm.finish)


STYLES = [Style.ASYNC, Style.LOCATION, Style.BOTH, Style.AT_ONCE]


class TestNsgCloseRule(ReversibleContract):
    """As a principal that may do exactly what is declared, whichever way ARM's operations answer."""

    @pytest.fixture(params=STYLES, ids=lambda style: style.name.lower())
    def setting(self, request: pytest.FixtureRequest, arm: Arm, closing: Setting) -> Setting:
        self.arm = arm
        arm.put_style, arm.polls = request.param, math.inf
        return closing

    @pytest.fixture
    def stranger(self, arm: Arm, group: str) -> Stranger:
        def narrows_the_rule() -> None:
            def narrow(body: Body) -> None:
                (own,) = [it for it in body["properties"]["securityRules"] if it["name"] == "allow-ssh"]
                own["properties"]["sourceAddressPrefix"] = "198.51.100.0/24"

            arm.alter(group, narrow)

        return narrows_the_rule

    def whole_life(self, setting: Setting) -> None:
        """And asks about operations, in both ways, as the engine does."""
        super().whole_life(setting)
        places = "Microsoft.Network/locations/x/operations", "Microsoft.Network/locations/x/operationResults"
        ask_about_operations(setting, self.arm, *places)


def observe(setting: Setting) -> OpenRule:
    state = setting.observe()
    assert isinstance(state, OpenRule)
    return state


def contain(setting: Setting) -> OpenRule:
    before = observe(setting)
    setting.apply(setting.target(before))
    assert reached(observe(setting), setting.target(before))
    return before


def rules(arm: Arm, group: str) -> dict[str, Body]:
    found = arm.read(group)["properties"]["securityRules"]
    return {each["name"]: {key: it for key, it in each["properties"].items() if it != []} for each in found}


def test_only_the_word_of_the_one_rule_changes(arm: Arm, group: str, closing: Setting) -> None:
    before = rules(arm, group)
    contain(closing)
    expected = copy.deepcopy(before)
    expected["allow-ssh"]["access"] = "Deny"
    assert rules(arm, group) == expected
    assert arm.changes() == ["PUT securityRules allow-ssh"]


def test_a_rule_comes_back_with_every_field(arm: Arm, group: str, closing: Setting) -> None:
    before = rules(arm, group)
    seen = contain(closing)
    target = closing.target(seen)
    assert isinstance(target, State)
    merged, kept = three_way(seen, target, observe(closing))
    closing.apply(merged)
    assert (rules(arm, group), kept) == (before, ())


def test_a_change_of_the_group_meanwhile_is_not_overwritten(arm: Arm, group: str, closing: Setting) -> None:
    now = observe(closing)
    arm.alter(group, lambda it: it["properties"]["securityRules"][1]["properties"].update(destinationPortRange="2022"))
    changing = closing.cloud.through(CountingGate(), closing.mark)
    with pytest.raises(Conflict, match="PreconditionFailedEtagMismatch"):
        closing.action.apply(changing, RULE, now, closing.target(now))
    assert rules(arm, group)["allow-ssh"]["destinationPortRange"] == "2022"


def test_while_a_change_of_the_group_is_under_way_nothing_is_sent(arm: Arm, group: str, closing: Setting) -> None:
    arm.alter(group, lambda it: it["properties"].update(provisioningState="Updating"))
    now = observe(closing)
    with pytest.raises(Pending):
        closing.action.apply(closing.cloud.through(CountingGate(0), closing.mark), RULE, now, closing.target(now))


def test_a_change_that_failed_is_not_verified_and_made_again(arm: Arm, group: str, closing: Setting) -> None:
    before = observe(closing)
    arm.fail_next("InternalServerError", "x")
    closing.apply(closing.target(before))
    failed = observe(closing)
    assert failed.rule["access"] == "Deny" and not reached(failed, closing.target(before))
    closing.apply(closing.target(before))
    assert reached(observe(closing), closing.target(before))


@pytest.mark.parametrize("id_", ["web-nsg/nobody", "nobody/allow-ssh", "web-nsg", "web-nsg/", "web-nsg/../x", "a/b/c"])
def test_what_is_not_there_is_gone(closing: Setting, id_: str) -> None:
    closing.resource = RULE.model_copy(update={"id": id_})
    assert closing.observe() is GONE


@pytest.mark.parametrize("missing", [name for name in NsgCloseRule().permissions() if "/locations/" not in name])
def test_without_one_of_its_permissions_it_is_denied(arm: Arm, closing: Setting, missing: str) -> None:
    arm.granted = [{"actions": ["*"], "notActions": [missing]}]
    with pytest.raises(Denied, match=missing):
        contain(closing)


def test_another_operation_in_the_way_did_not_change_it(arm: Arm, closing: Setting) -> None:
    before = observe(closing)
    arm.refuse(changes_of("securityRules"), 429, "RetryableError", "RetryableErrorDueToAnotherOperation")
    with pytest.raises(Exception, match="RetryableErrorDueToAnotherOperation"):
        closing.apply(closing.target(before))
    assert observe(closing) == before


# --- refusals and caveats ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["office", "ALLOW-SSH"])
def test_a_rule_that_is_not_open_is_refused(arm: Arm, closing: Setting, name: str) -> None:
    closing.resource = RULE.model_copy(update={"id": f"web-nsg/{name}"})
    found = closing.action.refusal(observe(closing))
    assert (found is not None) == (name == "office")


def test_a_lock_and_a_cluster_are_refused(arm: Arm, group: str, closing: Setting, cloud: AzureCloud) -> None:
    arm.lock("ReadOnly", group)
    found = closing.action.refusal(observe(closing))
    assert found is not None and "locks/keep" in found.reason
    arm.make_group("aks-nsg", group="MC_shop_cluster_westeurope", rules=[SSH])
    scope = f"{SUBSCRIPTION}/mc_shop_cluster_westeurope"
    setting = Setting(NsgCloseRule(), cloud, Resource(kind="azure:nsg-rule", id="aks-nsg/allow-ssh", scope=scope))
    found = setting.action.refusal(observe(setting))
    assert found is not None and "AKS" in found.reason and found.alternatives


def test_caveats_name_the_other_open_rules_and_who_shares_the_group(arm: Arm, group: str, closing: Setting) -> None:
    for name in ("a", "b"):
        arm.make_nic(name, group)
    texts = {caveat.id: caveat.text for caveat in closing.action.caveats(observe(closing))}
    assert "allow-web (Tcp 443)" in texts["also-open"] and "allow-ssh" not in texts["also-open"]
    assert texts["shared"].startswith("2 ")
    assert {"established-connections", "inside-too", "redeployment", "admin-rules"} <= set(texts)


@given(
    st.sampled_from(["*", "0.0.0.0/0", "::/0", "Internet", "INTERNET", "10.0.0.0/8", "VirtualNetwork", "", None]),
    st.lists(st.sampled_from(["0.0.0.0/0", "10.0.0.0/8"])),
    st.sampled_from(["Inbound", "Outbound"]),
    st.sampled_from(["Allow", "Deny"]),
)
def test_what_lets_anybody_in(one: str | None, many: list[str], direction: str, access: str) -> None:
    said = {"sourceAddressPrefix": one, "sourceAddressPrefixes": many, "direction": direction, "access": access}
    anywhere = (one or "").lower() in ("*", "0.0.0.0/0", "::/0", "internet") or "0.0.0.0/0" in many
    assert is_open(said) is (anywhere and direction == "Inbound" and access == "Allow")
