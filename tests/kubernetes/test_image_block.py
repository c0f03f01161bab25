"""A blocked image starts in no new pod: asked of the real API server, by creating the pods."""

import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from quarantine.action import GONE, Call, Refusal, State, reached, three_way
from quarantine.case import Case, Outcome, Reason, Status
from quarantine.errors import Conflict, Fenced, Unsupported
from quarantine.model import Resource
from quarantine.playbook import shipped
from quarantine.testing.contract import CountingGate, OneWayContract, ReversibleContract, Setting, Stranger
from quarantine.testing.installation import Installation
from quarantine_kubernetes import Kubernetes, image_policy
from quarantine_kubernetes.blocked_image import BlockedImage, Entry
from quarantine_kubernetes.cloud import KubernetesCloud
from quarantine_kubernetes.image_block import ImageBlock
from quarantine_kubernetes.image_name import image_name
from quarantine_kubernetes.image_policy import HOME, MOST
from quarantine_kubernetes.image_policy_remove import ImagePolicyRemove, PolicyPresence
from quarantine_kubernetes.leftovers import UNUSED_POLICIES
from quarantine_kubernetes.provider import Cluster, KubernetesSettings
from tests.kubernetes.conftest import CLUSTER, Namespace
from tests.kubernetes.images import Images
from tests.kubernetes.rbac import granted_everywhere
from tests.testbed.controlplane import ADMIN, SERVICE, ControlPlane
from tests.testbed.kubeapi import ApiError
from tests.testbed.poll import until

DIGEST = "sha256:" + "ab" * 32
BAD = "registry.example.com/shop/bad:1.2"


@pytest.fixture
def images(control_plane: ControlPlane) -> Iterator[Images]:
    with Images(control_plane) as images:
        yield images


@pytest.fixture
def block(images: Images, cloud: KubernetesCloud) -> Callable[[str], Setting]:
    """Sets one image up to be blocked."""
    return lambda image: Setting(ImageBlock(), cloud, resource(image), mark=images.mark)


def resource(image: str) -> Resource:
    return Resource(kind="kubernetes:image", id=image, scope=CLUSTER)


def seen(setting: Setting) -> BlockedImage:
    state = setting.observe()
    assert isinstance(state, BlockedImage)
    return state


def contain(setting: Setting) -> BlockedImage:
    before = seen(setting)
    setting.apply(setting.target(before))
    assert reached(setting.observe(), setting.target(before))
    return before


def release(setting: Setting, before: BlockedImage) -> None:
    target = setting.target(before)
    assert isinstance(target, State)
    merged, _ = three_way(before, target, seen(setting))
    setting.apply(merged)


class TestImageBlock(ReversibleContract):
    """As a user who has exactly the declared permissions, beside another image that is blocked."""

    @pytest.fixture
    def setting(
        self,
        images: Images,
        control_plane: ControlPlane,
        cloud: KubernetesCloud,
        cloud_of: Callable[[str], KubernetesCloud],
    ) -> Iterator[Setting]:
        self.images = images
        with granted_everywhere(control_plane, SERVICE, ImageBlock().permissions()):
            yield Setting(ImageBlock(), cloud_of(SERVICE), resource(BAD), mark=images.mark)

    @pytest.fixture
    def stranger(self, setting: Setting, images: Images) -> Stranger:
        return lambda: images.write({image_name(BAD).key: "registry.example.com/shop/other:1"})

    def whole_life(self, setting: Setting) -> None:
        """With a policy and a binding to put right in it."""
        before = contain(setting)
        self.images.open_up()
        contain(setting)
        release(setting, before)


# --- who is denied -------------------------------------------------------------------------------------------------


def container(image: str, name: str = "main") -> dict[str, str]:
    return {"name": name, "image": image}


def denied(namespace: Namespace, *images: str, **spec: object) -> bool:
    """Is a new pod denied? One that is not is deleted again."""
    name = f"pod-{uuid.uuid4().hex[:8]}"
    spec = {"containers": [container(image, f"c{at}") for at, image in enumerate(images)], **spec}
    try:
        namespace.pod(name, None, **spec)
    except ApiError as error:
        if error.status == 403 and "blocked by cloud-quarantine" in str(error):
            return True
        raise
    namespace.api.delete(namespace.pod_path(name))
    return False


@pytest.fixture
def blocked(block: Callable[[str], Setting], namespace: Namespace) -> Callable[[str], BlockedImage]:
    """Blocks an image, and waits until the API server has heard of it."""

    def at_once(image: str) -> BlockedImage:
        before = contain(block(image))
        until(lambda: denied(namespace, image if "/" in image or ":" not in image else f"web@{image}"))
        return before

    return at_once


def test_a_new_pod_with_it_is_denied_however_it_is_written(
    namespace: Namespace, blocked: Callable[[str], BlockedImage]
) -> None:
    blocked("nginx")
    for image in ("nginx", "nginx:latest", "docker.io/library/nginx", "DOCKER.io/nginx:latest", "library/nginx:latest"):
        assert denied(namespace, image), image
    others = ("nginx:1.2", f"nginx@{DIGEST}", "quay.io/nginx:latest", "shop/nginx", "nginx-unprivileged")
    assert not [image for image in others if denied(namespace, image)]
    assert denied(namespace, "web:1", "nginx"), "one of its containers is enough"


def test_a_digest_is_denied_wherever_it_comes_from(
    namespace: Namespace, blocked: Callable[[str], BlockedImage]
) -> None:
    blocked(DIGEST)
    for image in (f"nginx@{DIGEST}", f"nginx:1.2@{DIGEST}", f"mirror.example.com:5000/a/b@{DIGEST}"):
        assert denied(namespace, image), image
    assert not denied(namespace, f"nginx@{DIGEST.replace('ab', 'ac')}")
    assert not denied(namespace, "nginx:1.2")


def test_no_part_of_a_pod_is_left_out(namespace: Namespace, blocked: Callable[[str], BlockedImage]) -> None:
    blocked(BAD)
    assert denied(namespace, "web:1", initContainers=[container(BAD, "init")])
    sidecar = {**container(BAD, "side"), "restartPolicy": "Always"}
    assert denied(namespace, "web:1", initContainers=[sidecar])
    volume = {"name": "files", "image": {"reference": BAD, "pullPolicy": "IfNotPresent"}}
    assert denied(namespace, "web:1", volumes=[volume])
    assert not denied(namespace, "web:1", initContainers=[container("init:1", "init")], volumes=[{"name": "a"}])


def test_an_ephemeral_container_with_it_is_denied(namespace: Namespace, blocked: Callable[[str], BlockedImage]) -> None:
    blocked(BAD)
    namespace.pod("web-1")

    def debug(image: str) -> None:
        path = f"{namespace.pod_path('web-1')}/ephemeralcontainers"
        body = {"spec": {"ephemeralContainers": [{"name": f"debug-{image[-1]}", "image": image}]}}
        namespace.api.patch(path, body, "application/strategic-merge-patch+json")

    with pytest.raises(ApiError, match="blocked by cloud-quarantine"):
        debug(BAD)
    debug("tools:1")


def test_a_pod_that_runs_it_is_not_in_the_way_of_anything(
    namespace: Namespace, blocked: Callable[[str], BlockedImage]
) -> None:
    """It is labelled, reported on by its kubelet, gets an ephemeral container, is finished and deleted."""
    pod = {"containers": [container(BAD), container("web:1", "web")], "initContainers": [container(BAD, "init")]}
    namespace.pod("web-1", None, **pod, activeDeadlineSeconds=1000)
    path = namespace.pod_path("web-1")
    blocked(BAD)
    namespace.api.patch(path, {"metadata": {"labels": {"team": "shop"}, "finalizers": ["example.test/kept"]}})
    namespace.api.patch(path, {"spec": {"activeDeadlineSeconds": 60}})
    namespace.api.patch_status(path, {"phase": "Failed", "reason": "Evicted"})
    debug = {"spec": {"ephemeralContainers": [container("tools:1", "debug")]}}
    namespace.api.patch(f"{path}/ephemeralcontainers", debug, "application/strategic-merge-patch+json")
    moved = {"spec": {"containers": [{"name": "web", "image": BAD}]}}
    with pytest.raises(ApiError, match="blocked by cloud-quarantine"):  # another container of it begins to run it
        namespace.api.patch(path, moved, "application/strategic-merge-patch+json")
    cured = {"spec": {"containers": [{"name": "main", "image": "good:1"}]}}
    namespace.api.patch(path, cured, "application/strategic-merge-patch+json")
    namespace.api.patch(path, {"metadata": {"finalizers": None}})
    namespace.api.delete(path)
    assert not namespace.api.exists(path)


def test_it_still_starts_where_it_must_not_be_kept_from_starting(
    images: Images, cloud: KubernetesCloud, namespace: Namespace
) -> None:
    other = Namespace(f"{namespace.name}-other", namespace.api)
    namespace.api.make_namespace(other.name)
    try:
        cloud.always_admitted = (namespace.name,)
        setting = Setting(ImageBlock(), cloud, resource(BAD), mark=images.mark)
        contain(setting)
        until(lambda: denied(other, BAD))
        assert not denied(namespace, BAD)
        assert not denied(Namespace(HOME, namespace.api), BAD)
        (spared,) = (item.text for item in setting.action.caveats(seen(setting)) if item.id == "spared")
        assert f"{HOME}, {namespace.name}" in spared
    finally:
        namespace.api.delete(f"/api/v1/namespaces/{other.name}", grace=None)


def test_as_many_as_may_be_blocked_cost_no_pod_its_start(
    images: Images, block: Callable[[str], Setting], namespace: Namespace
) -> None:
    """A CEL expression that costs too much fails, and then a pod would be denied that has none of them."""
    contain(block(BAD))
    spellings = (image_name(f"registry.example.com/{'team/' * 10}web:{number}") for number in range(MOST - 1))
    images.write({name.key: image_policy.entry(name.spellings, "case-1") for name in spellings})
    last = f"registry.example.com/{'team/' * 10}web:{MOST - 2}"
    until(lambda: denied(namespace, last))
    assert not denied(namespace, *(f"registry.example.com/good/web:{number}" for number in range(20)))
    assert denied(namespace, *(f"registry.example.com/good/web:{number}" for number in range(20)), last)
    refused = block("one-more").action.refusal(seen(block("one-more")))
    assert refused is not None and f"{MOST} images are blocked already" in refused.reason


# --- cases share the policy ----------------------------------------------------------------------------------------


def test_a_release_takes_its_own_entry_and_no_other(
    images: Images, block: Callable[[str], Setting], namespace: Namespace
) -> None:
    first, second = block(BAD), block(DIGEST)
    before = contain(first)
    alone = images.entries()
    was = contain(second)
    until(lambda: denied(namespace, BAD) and denied(namespace, f"web@{DIGEST}"))
    release(second, was)
    assert images.entries() == alone
    until(lambda: not denied(namespace, f"web@{DIGEST}"))
    assert denied(namespace, BAD)
    release(first, before)
    assert images.entries() == {}
    until(lambda: not denied(namespace, BAD))


def apply_late(setting: Setting, now: BlockedImage) -> None:
    """As one that saw `now`, and not what has happened since."""
    setting.action.apply(
        setting.cloud.through(CountingGate(), setting.mark), setting.resource, now, setting.target(now)
    )


def test_two_that_begin_at_once_both_get_their_entry(images: Images, block: Callable[[str], Setting]) -> None:
    """The second one has seen nothing of the first, neither list nor policy."""
    first, second = block(BAD), block(DIGEST)
    nothing = seen(second)
    contain(first)
    policy = images.there()
    apply_late(second, nothing)
    assert reached(second.observe(), second.target(nothing))
    assert (len(images.entries()), images.there()) == (2, policy)


def test_what_is_taken_away_or_changed_is_noticed_and_put_right(
    images: Images, block: Callable[[str], Setting], namespace: Namespace
) -> None:
    setting = block(BAD)
    target = setting.target(contain(setting))
    for harm in (images.open_up, images.delete_policy, images.delete_binding, images.delete_list):
        harm()
        assert not reached(setting.observe(), target), harm
        setting.apply(target)
        assert reached(setting.observe(), target), harm
    until(lambda: denied(namespace, BAD))


def test_whoever_deletes_the_list_keeps_no_pod_of_the_cluster_from_starting(
    images: Images, block: Callable[[str], Setting], namespace: Namespace
) -> None:
    """It opens what was blocked, which is seen as drift; that nothing starts any more would be worse."""
    contain(block(BAD))
    until(lambda: denied(namespace, BAD))
    images.delete_list()
    until(lambda: not denied(namespace, BAD))
    assert not denied(namespace, "web:1")


def test_a_change_of_who_is_spared_is_put_right_with_the_next_look(
    images: Images, block: Callable[[str], Setting]
) -> None:
    setting = block(BAD)
    target = setting.target(contain(setting))
    setting.cloud.always_admitted = ("kube-system", "monitoring")  # type: ignore[attr-defined]
    assert "ValidatingAdmissionPolicyBinding" in seen(setting).unenforced[0]
    setting.apply(target)
    assert reached(setting.observe(), target)


def test_nobodys_entry_is_overwritten(images: Images, block: Callable[[str], Setting]) -> None:
    contain(block(DIGEST))
    setting = block(BAD)
    now = seen(setting)
    images.write({image_name(BAD).key: "web:1"})
    with pytest.raises(Conflict):
        apply_late(setting, now)
    assert images.entries()[image_name(BAD).key] == "web:1"


@dataclass
class Frozen(CountingGate):
    """Holds the first change up, until another worker has done it and it was released; then the lease is over."""

    meanwhile: Callable[[], object] = lambda: None

    def admit(self, call: Call) -> None:
        if self.calls:
            raise Fenced("the lease is over")
        super().admit(call)
        self.meanwhile()


def test_a_late_entry_does_not_come_back_after_its_release(images: Images, block: Callable[[str], Setting]) -> None:
    """Its request names a version that is gone, and another one does not pass the gate."""
    contain(block(DIGEST))
    setting, alone = block(BAD), images.entries()
    before = seen(setting)
    gate = Frozen(meanwhile=lambda: release(setting, contain(setting)))
    with pytest.raises(Fenced):
        setting.action.apply(
            setting.cloud.through(gate, setting.mark), setting.resource, before, setting.target(before)
        )
    assert (len(gate.calls), images.entries()) == (1, alone)


# --- what cannot work ----------------------------------------------------------------------------------------------


def refusal(setting: Setting) -> str:
    found: Refusal | None = setting.action.refusal(seen(setting))
    assert found is not None and found.alternatives
    return found.reason


def test_what_somebody_else_made_under_our_name_is_left_alone(images: Images, block: Callable[[str], Setting]) -> None:
    images.foreign_list()
    setting = block(BAD)
    assert "ConfigMap" in refusal(setting)
    now = seen(setting)
    with pytest.raises(Conflict, match="does not carry our mark"):
        setting.apply(setting.target(now))
    assert images.entries() == {}


def test_without_a_namespace_for_its_list_it_says_how_to_make_one(
    control_plane: ControlPlane, block: Callable[[str], Setting], images: Images
) -> None:
    images.remove_home()
    setting = block(BAD)
    assert f"no namespace '{HOME}'" in refusal(setting)
    with pytest.raises(Conflict):
        setting.apply(setting.target(seen(setting)))
    images.make_home()
    contain(setting)


@pytest.mark.parametrize(("image", "scope", "why"), [("A B", CLUSTER, "no image"), (BAD, f"{CLUSTER}/shop", "whole")])
def test_what_is_no_image_of_a_cluster_is_refused(
    control_plane: ControlPlane, image: str, scope: str, why: str
) -> None:
    kubernetes = Kubernetes(KubernetesSettings(clusters={CLUSTER: Cluster(kubeconfig=control_plane.kubeconfig(ADMIN))}))
    with pytest.raises(Unsupported, match=why):
        kubernetes.resolve(kubernetes.connect(scope), Resource(kind="kubernetes:image", id=image, scope=scope))


def test_all_spellings_are_one_resource(control_plane: ControlPlane) -> None:
    kubernetes = Kubernetes(KubernetesSettings(clusters={CLUSTER: Cluster(kubeconfig=control_plane.kubeconfig(ADMIN))}))
    cloud = kubernetes.connect(CLUSTER)
    found = {kubernetes.resolve(cloud, resource(image))[0].identity for image in ("nginx", "docker.io/library/nginx")}
    assert len(found) == 1


@pytest.mark.parametrize(("image", "caveat"), [("nginx", "tags-move"), (DIGEST, "digest-not-asked")])
def test_it_says_what_else_leads_to_the_same_content(block: Callable[[str], Setting], image: str, caveat: str) -> None:
    setting = block(image)
    assert caveat in {item.id for item in setting.action.caveats(seen(setting))}


# --- what is left over ---------------------------------------------------------------------------------------------


def removal(setting: Setting, images: Images) -> Setting:
    policy = Resource(kind="kubernetes:image-policy", id=images.name, scope=CLUSTER)
    return Setting(ImagePolicyRemove(), setting.cloud, policy, mark=images.mark)


def left_over(setting: Setting, images: Images) -> list[str]:
    cloud = setting.cloud.belonging_to(images.mark.installation)
    findings, cursor = UNUSED_POLICIES.run(cloud, CLUSTER, images.now, "cursor")
    assert cursor == "cursor"
    return [finding.resource.id for finding in findings]


class TestImagePolicyRemove(OneWayContract):
    """As a user who has exactly the declared permissions."""

    @pytest.fixture
    def setting(
        self,
        images: Images,
        control_plane: ControlPlane,
        block: Callable[[str], Setting],
        cloud_of: Callable[[str], KubernetesCloud],
    ) -> Iterator[Setting]:
        blocking = block(BAD)
        release(blocking, contain(blocking))
        with granted_everywhere(control_plane, SERVICE, ImagePolicyRemove().permissions()):
            policy = Resource(kind="kubernetes:image-policy", id=images.name, scope=CLUSTER)
            yield Setting(ImagePolicyRemove(), cloud_of(SERVICE), policy, mark=images.mark)


def test_the_policy_is_left_over_when_the_last_image_is_released_and_then_nothing_is(
    images: Images, block: Callable[[str], Setting]
) -> None:
    setting = block(BAD)
    assert left_over(setting, images) == []
    before = contain(setting)
    assert left_over(setting, images) == []
    release(setting, before)
    assert left_over(setting, images) == [images.name]
    removing = removal(setting, images)
    removing.apply(GONE)
    assert removing.observe() is GONE
    assert images.there() == []
    assert left_over(setting, images) == []


def test_a_policy_that_blocks_something_stays(images: Images, block: Callable[[str], Setting]) -> None:
    setting = block(BAD)
    contain(setting)
    removing = removal(setting, images)
    before = removing.observe()
    assert isinstance(before, PolicyPresence)
    refused = removing.action.refusal(before)
    assert refused is not None and image_name(BAD).key in refused.reason
    with pytest.raises(Conflict, match="stays"):
        removing.apply(GONE)
    assert len(images.there()) == 3


def test_an_image_that_is_blocked_in_the_last_moment_keeps_the_policy(
    images: Images, block: Callable[[str], Setting]
) -> None:
    setting = block(BAD)
    release(setting, contain(setting))
    removing = removal(setting, images)
    before = removing.observe()
    contain(block(DIGEST))
    with pytest.raises(Conflict):
        removing.action.apply(removing.cloud.through(CountingGate(), images.mark), removing.resource, before, GONE)
    assert len(images.there()) == 3
    after = removing.observe()
    assert isinstance(before, PolicyPresence) and isinstance(after, PolicyPresence)
    assert not removing.action.ours(before, after), "it must not be tried again"


def test_what_others_made_is_not_ours_to_remove(images: Images, cloud: KubernetesCloud) -> None:
    metadata: dict[str, Any] = images.foreign_policy()["metadata"]
    policy = Resource(kind="kubernetes:image-policy", id=metadata["name"], scope=CLUSTER)
    removing = Setting(ImagePolicyRemove(), cloud, policy, mark=images.mark)
    with pytest.raises(Conflict, match="we did not make"):
        removing.apply(GONE)
    assert removing.observe() is not GONE


def test_the_poll_asks_for_what_it_says(images: Images, block: Callable[[str], Setting]) -> None:
    setting = block(BAD)
    cloud = setting.cloud.through(CountingGate(0), images.mark, setting.used.append)
    UNUSED_POLICIES.run(cloud, CLUSTER, images.now, None)
    assert {call.permission for call in setting.used} == set(UNUSED_POLICIES.permissions)


def test_a_connection_that_does_not_know_whose_it_is_finds_nothing(cloud: KubernetesCloud, images: Images) -> None:
    with pytest.raises(Unsupported, match="whose"):
        UNUSED_POLICIES.run(cloud, CLUSTER, images.now, None)


def test_the_entry_says_which_case_and_means_nothing_else(images: Images, block: Callable[[str], Setting]) -> None:
    contain(block(BAD))
    (entry,) = images.entries().values()
    assert entry.split("\n")[0] == f"# {images.mark.case}"
    assert seen(block(BAD)).entry is Entry.BLOCKED


def test_while_a_case_blocks_an_image_the_policy_is_not_removed(
    tmp_path: Path, control_plane: ControlPlane, namespace: Namespace
) -> None:
    """Through the engine: one case blocks, another one would sweep, and is told by whom it is used."""
    kubernetes = Kubernetes(KubernetesSettings(clusters={CLUSTER: Cluster(kubeconfig=control_plane.kubeconfig(ADMIN))}))
    books = [shipped() / "kubernetes" / f"{name}.yaml" for name in ("block-image", "remove-image-policy")]
    there = Installation(tmp_path, kubernetes, books)
    with Images(control_plane, there.store.installation()) as images:
        case = there.settle(there.open(resource(BAD), "block-image"))
        there.desk.approve(case.id, "local:ann")
        case = there.settle(case)
        assert case.status is Status.CONTAINED, case.sentence
        until(lambda: denied(namespace, BAD))
        policy = Resource(kind="kubernetes:image-policy", id=images.name, scope=CLUSTER)
        refused = there.settle(there.open(policy, "remove-image-policy"))
        assert refused.outcome is Outcome.REFUSED
        assert case.id in refused.sentence
        images.open_up()
        there.clock.turn(timedelta(minutes=6))
        assert there.settle(case).reason is Reason.DRIFTED
        there.desk.release(case.id, "local:ann")
        assert there.settle(case).outcome is Outcome.RELEASED
        assert images.entries() == {}


def test_many_cases_at_once_all_get_their_entries_and_all_give_them_back(
    tmp_path: Path, control_plane: ControlPlane
) -> None:
    """Each sees the list change under it, which is no conflict about its own image."""
    kubernetes = Kubernetes(KubernetesSettings(clusters={CLUSTER: Cluster(kubeconfig=control_plane.kubeconfig(ADMIN))}))
    there = Installation(tmp_path, kubernetes, [shipped() / "kubernetes" / "block-image.yaml"])
    names = [f"registry.example.com/bad:{number}" for number in range(16)]
    with Images(control_plane, there.store.installation()) as images, ThreadPoolExecutor(len(names)) as threads:

        def together() -> list[Case]:
            list(threads.map(there.engine.advance, [case.id for case in cases]))
            return [there.store.load(case.id) for case in cases]

        cases = [there.settle(there.open(resource(name), "block-image")) for name in names]
        for case in cases:
            there.desk.approve(case.id, "local:ann")
        cases = together()
        assert [(case.status, case.reason) for case in cases] == [(Status.CONTAINED, None)] * len(names), cases
        assert images.entries().keys() == {image_name(name).key for name in names}
        for case in cases:
            there.desk.release(case.id, "local:ann")
        cases = together()
        assert {case.outcome for case in cases} == {Outcome.RELEASED}, [case.sentence for case in cases]
        assert images.entries() == {}
