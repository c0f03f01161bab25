"""Installations that work on the test bed: an AWS behind a fault proxy, and a Kubernetes cluster."""

import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, ParamValidationError

from tests.acceptance.product import Product
from tests.kubernetes.images import Images
from tests.kubernetes.rbac import applied, written_for
from tests.testbed.aws import ACCOUNT, REGION, Moto, aws_environment
from tests.testbed.controlplane import SERVICE, ControlPlane
from tests.testbed.proxy import FaultProxy

SCOPE = f"{ACCOUNT}/{REGION}"
Install = Callable[..., Product]


@dataclass
class Aws:
    """An AWS with buckets; what the tests do here goes around the proxy."""

    moto: Moto
    proxy: FaultProxy

    def public_bucket(self, name: str | None = None) -> str:
        """Readable by the world, by ACL and by policy, with no block of its own."""
        bucket = name or f"leak-{uuid.uuid4().hex[:8]}"
        s3 = self.moto.client("s3")
        s3.create_bucket(Bucket=bucket)
        s3.put_bucket_acl(Bucket=bucket, ACL="public-read")
        objects = f"arn:aws:s3:::{bucket}/*"
        statement = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": objects}
        s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
        return bucket

    def image(self, bucket: str) -> bytes:
        """Everything that the bucket is configured with, byte for byte."""
        s3 = self.moto.client("s3")
        parts: dict[str, Any] = {}
        for name in ("public_access_block", "bucket_policy", "bucket_acl", "bucket_tagging", "bucket_website"):
            try:
                answer = getattr(s3, f"get_{name}")(Bucket=bucket)
            except ClientError as error:
                parts[name] = error.response["Error"]["Code"]
            else:
                del answer["ResponseMetadata"]
                parts[name] = answer
        return json.dumps(parts, sort_keys=True, default=str).encode()

    def security_hub_has(self, record: Any) -> None:
        """Security Hub shows the findings of an event under their ids from now on; what is none it does not take."""
        detail = record.get("detail") if isinstance(record, dict) else None
        with suppress(ParamValidationError):
            if isinstance(detail, dict) and isinstance(detail.get("findings"), list):
                self.moto.client("securityhub").batch_import_findings(Findings=detail["findings"])

    def block(self, bucket: str) -> dict[str, bool] | None:
        try:
            answer = self.moto.client("s3").get_public_access_block(Bucket=bucket)
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchPublicAccessBlockConfiguration":
                return None
            raise
        settings: dict[str, bool] = answer["PublicAccessBlockConfiguration"]
        return settings


CLOSED = dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True)


@pytest.fixture
def aws(moto: Moto) -> Iterator[Aws]:
    moto.reset()
    with FaultProxy(moto.url) as proxy:
        yield Aws(moto, proxy)


@pytest.fixture
def install(tmp_path: Path) -> Iterator[Install]:
    """A running installation with these settings; stopped at the end."""
    with ExitStack() as stack:

        def start(settings: dict[str, Any], environment: dict[str, str] | None = None, **how: Any) -> Product:
            folder = tmp_path / f"installation-{uuid.uuid4().hex[:6]}"
            folder.mkdir()
            return stack.enter_context(Product(folder, settings, environment, **how))

        yield start


@pytest.fixture
def on_aws(aws: Aws, install: Install) -> Callable[..., Product]:
    """An installation for the account of the test bed, whose every call goes through the proxy."""

    def start(**settings: Any) -> Product:
        providers = {"aws": {"endpoint_url": aws.proxy.url, "accounts": {ACCOUNT: {"regions": [REGION]}}}}
        environment = aws_environment(aws.proxy.url)
        del environment["AWS_ENDPOINT_URL"]
        product = install({"providers": providers, **settings}, environment)
        product.detector = aws.security_hub_has
        return product

    return start


@dataclass
class Cluster:
    """A namespace of a real API server, and the proxy in front of it."""

    api: ControlPlane
    proxy: FaultProxy
    namespace: str

    def pod(self, name: str) -> dict[str, Any]:
        return self.api.get(f"/api/v1/namespaces/{self.namespace}/pods/{name}")

    @property
    def policies_path(self) -> str:
        return f"/apis/networking.k8s.io/v1/namespaces/{self.namespace}/networkpolicies"

    def policies(self) -> list[dict[str, Any]]:
        return self.api.items(self.policies_path)

    def image(self, name: str) -> bytes:
        """What of a pod a release must give back, and that nothing of ours is left beside it."""
        pod = self.pod(name)
        kept = {key: value for key, value in pod["metadata"].items() if key not in ("resourceVersion", "managedFields")}
        return json.dumps([kept, pod["spec"], self.policies()], sort_keys=True).encode()


@pytest.fixture(scope="module")
def kubeconfig(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Path]]:
    """Settings for our user, who has exactly what `quarantine permissions` writes."""
    Images(control_plane).make_home()
    with applied(control_plane, SERVICE, written_for(SERVICE, tmp_path_factory.mktemp("permissions"))):
        yield partial(control_plane.kubeconfig, SERVICE)


@pytest.fixture
def cluster(control_plane: ControlPlane) -> Iterator[Cluster]:
    name = f"shop-{uuid.uuid4().hex[:8]}"
    control_plane.make_namespace(name)
    with FaultProxy(control_plane.url, control_plane.ca_file) as proxy:
        yield Cluster(control_plane, proxy, name)
    control_plane.delete(f"/api/v1/namespaces/{name}", grace=None)


@pytest.fixture
def on_kubernetes(cluster: Cluster, kubeconfig: Callable[..., Path], install: Install) -> Callable[..., Product]:
    """An installation for the cluster of the test bed, through the proxy."""

    def start(enforced_by: str | None = None, **settings: Any) -> Product:
        path = kubeconfig(server=cluster.proxy.url)
        how = {"kubeconfig": str(path), **({"enforced_by": enforced_by} if enforced_by else {})}
        providers = {"kubernetes": {"clusters": {"testbed": how}}}
        return install({"providers": providers, **settings})

    return start
