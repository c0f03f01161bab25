"""Gives new pods of a service account no token, and makes those in its Secrets invalid, until it is released."""

from typing import Any, ClassVar

from quarantine.action import Action, Caveat, Refusal, State
from quarantine.model import Resource
from quarantine_kubernetes import account_tokens, objects
from quarantine_kubernetes.account_tokens import INVALID, AccountTokens
from quarantine_kubernetes.binding_revoke import WHO, WHO_AM_I
from quarantine_kubernetes.cloud import KubernetesCloud

KIND = objects.KINDS[objects.SERVICE_ACCOUNT]
SECRETS = objects.KINDS[objects.SECRET]
TYPE = "type=kubernetes.io/service-account-token"


class ServiceaccountTokenDisable(Action[KubernetesCloud, AccountTokens]):
    """No Secret is deleted: it could not be given back without keeping its value. Their values are never read."""

    name: ClassVar[str] = "kubernetes:serviceaccount-token-disable"
    resource: ClassVar[str] = objects.SERVICE_ACCOUNT
    state: ClassVar[type[State]] = AccountTokens

    def permissions(self) -> tuple[str, ...]:
        own = (KIND.permission("get"), KIND.permission("patch"))
        return (*own, SECRETS.permission("list"), SECRETS.permission("patch"), WHO)

    def observe(self, cloud: KubernetesCloud, resource: Resource) -> AccountTokens:
        found = objects.get(cloud, resource)
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        username = cloud.read(WHO, WHO_AM_I, body=body)["status"]["userInfo"]["username"]
        return account_tokens.read_tokens(found, objects.beside(cloud, resource, SECRETS, fieldSelector=TYPE), username)

    def contained(self, before: AccountTokens) -> AccountTokens:
        return account_tokens.disabled(before)

    def apply(self, cloud: KubernetesCloud, resource: Resource, now: AccountTokens, target: Any) -> None:
        if now.automount is not target.automount:
            setting = {"automountServiceAccountToken": target.automount}
            objects.patch(cloud, resource, (now.uid, now.version), setting)
        for name, since in target.secrets.items():
            if name in now.secrets and now.secrets[name] != since:
                secret = Resource(kind=objects.SECRET, id=name, scope=resource.scope)
                objects.patch(cloud, secret, now.seen[name], {"metadata": {"labels": {INVALID: since or None}}})

    def refusal(self, before: AccountTokens) -> Refusal | None:
        return account_tokens.refusal(before)

    def caveats(self, before: AccountTokens) -> tuple[Caveat, ...]:
        return account_tokens.caveats(before)
