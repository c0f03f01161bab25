"""What of ours may be left in a cluster when every case is closed."""

from datetime import datetime
from typing import Final

from quarantine.action import Leftover, Poll
from quarantine.model import Finding, Resource, Severity
from quarantine_kubernetes import image_gate, image_policy
from quarantine_kubernetes.cloud import KubernetesCloud
from quarantine_kubernetes.objects import IMAGE_POLICY


def unused(cloud: KubernetesCloud, scope: str, now: datetime, cursor: str | None) -> tuple[list[Finding], str | None]:
    """The policy of this installation, if no image is blocked by it."""
    there = image_gate.found(cloud)
    policy = there["ValidatingAdmissionPolicy"]
    if policy is None or (there["ConfigMap"] or {}).get("data") or image_policy.is_foreign(policy, cloud.installation):
        return [], cursor
    metadata = policy["metadata"]
    resource = Resource(kind=IMAGE_POLICY, id=metadata["name"], scope=scope, uid=metadata["uid"])
    found = Finding(
        source=UNUSED_POLICIES.name,
        id=f"unused-image-policy:{metadata['uid']}",
        title=f"Policy {metadata['name']} blocks no image any more",
        type="unused-image-policy",
        severity=Severity.INFORMATIONAL,
        resource=resource,
        seen_at=now,
    )
    return [found], cursor


UNUSED_POLICIES: Final = Poll(
    name="kubernetes:unused-image-policies",
    permissions=tuple(kind.permission("get") for kind in image_gate.KINDS.values()),
    run=unused,
)
LEFTOVERS: Final = (Leftover(UNUSED_POLICIES, playbook="remove-image-policy"),)
