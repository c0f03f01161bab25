"""The objects by which an installation of its own blocks images, as somebody else sees and changes them."""

import uuid
from datetime import UTC, datetime
from typing import Any, Self

from quarantine.action import Mark
from quarantine_kubernetes import image_policy
from quarantine_kubernetes.image_policy import HOME
from tests.testbed.controlplane import ControlPlane
from tests.testbed.poll import until

ADMISSION = "/apis/admissionregistration.k8s.io/v1"


class Images:
    """Inside of `with`; nothing of them is left after it."""

    now = datetime(2026, 11, 25, 8, 0, tzinfo=UTC)

    def __init__(self, api: ControlPlane, installation: str = "") -> None:
        self._api = api
        installation = installation or uuid.uuid4().hex
        self.mark = Mark(installation=installation, case="case-contract", step=0, key="key-contract")
        self.name = image_policy.name_of(installation)
        self._policy = f"{ADMISSION}/validatingadmissionpolicies/{self.name}"
        self._binding = f"{ADMISSION}/validatingadmissionpolicybindings/{self.name}"
        self._list = f"/api/v1/namespaces/{HOME}/configmaps/{self.name}"

    def __enter__(self) -> Self:
        self.make_home()
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()

    def clear(self) -> None:
        for path in self.there():
            self._api.delete(path)

    def make_empty(self) -> str:
        """The policy of an installation that blocks no image any more; returns its uid."""
        self.make_home()
        installation = self.mark.installation
        self._api.create(self._list.rpartition("/")[0], image_policy.image_list(installation, {}))
        self._api.create(self._binding.rpartition("/")[0], image_policy.binding(installation, ()))
        made = self._api.create(self._policy.rpartition("/")[0], image_policy.policy(installation))
        return str(made["metadata"]["uid"])

    def make_home(self) -> None:
        if not self._api.exists(f"/api/v1/namespaces/{HOME}"):
            self._api.make_namespace(HOME)

    def remove_home(self) -> None:
        self._api.delete(f"/api/v1/namespaces/{HOME}", grace=None)
        until(lambda: not self._api.exists(f"/api/v1/namespaces/{HOME}"))

    def there(self) -> list[str]:
        return [path for path in (self._list, self._binding, self._policy) if self._api.exists(path)]

    def entries(self) -> dict[str, str]:
        if not self._api.exists(self._list):
            return {}
        return dict(self._api.get(self._list).get("data") or {})

    def write(self, entries: dict[str, str]) -> None:
        if self._api.exists(self._list):
            self._api.patch(self._list, {"data": entries})
        else:
            made = image_policy.image_list(self.mark.installation, entries)
            self._api.create(self._list.rpartition("/")[0], made)

    def open_up(self) -> None:
        """It looks as before, and denies nobody."""
        self._api.patch(self._policy, {"spec": {"failurePolicy": "Ignore"}})
        self._api.patch(self._binding, {"spec": {"validationActions": ["Audit"]}})

    def delete_policy(self) -> None:
        self._api.delete(self._policy)

    def delete_binding(self) -> None:
        self._api.delete(self._binding)

    def delete_list(self) -> None:
        self._api.delete(self._list)

    def foreign_list(self) -> None:
        self._api.create(self._list.rpartition("/")[0], {"metadata": {"name": self.name}})

    def foreign_policy(self) -> dict[str, Any]:
        made = image_policy.policy("somebody-else")
        made["metadata"]["name"] = self.name
        return self._api.create(self._policy.rpartition("/")[0], made)
