"""The AWS of the demo: a moto server on this machine, and what people who are not this program do there."""

import http.client
import json
import os
from collections.abc import Mapping
from typing import Any

ACCOUNT = "123456789012"
REGION = "eu-west-1"
SCOPE = f"{ACCOUNT}/{REGION}"
PUBLIC, PRIVATE = "acme-invoices", "acme-payroll"

_KEYS = {"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE", "AWS_SECRET_ACCESS_KEY": "of-no-account-anywhere"}


def environment(base: Mapping[str, str] = os.environ) -> dict[str, str]:
    """For the programs of the demo: credentials of no account, and none of this machine's own settings for AWS."""
    kept = {
        name: value for name, value in base.items() if not name.startswith(("AWS_", "QUARANTINE_", "MOTO_", "COLUMNS"))
    }
    return kept | _KEYS | {
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }  # fmt: skip


class DemoCloud:
    """Buckets, a service, and somebody who does not think."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._clients: dict[str, Any] = {}

    def answers(self) -> bool:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
            connection.request("GET", "/moto-api/data.json")
            return connection.getresponse().status == 200
        except OSError:
            return False

    def furnish(self) -> str:
        """A public bucket, a private one, and a service with one task, whose id is returned."""
        s3 = self._client("s3")
        for bucket in (PUBLIC, PRIVATE):
            s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
            tags = [{"Key": "team", "Value": "finance"}]
            s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": tags})
            s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=_block(bucket == PRIVATE))
        anybody = {
            "Effect": "Allow",
            "Principal": "*",
            "Action": "s3:GetObject",
            "Resource": f"arn:aws:s3:::{PUBLIC}/*",
        }
        s3.put_bucket_policy(Bucket=PUBLIC, Policy=json.dumps({"Version": "2012-10-17", "Statement": [anybody]}))
        return self._service()

    def block(self, bucket: str) -> dict[str, bool] | None:
        """The bucket's Block Public Access settings, read at the AWS and not from this program's record."""
        answer = self._part(bucket, "public_access_block")
        return answer["PublicAccessBlockConfiguration"] if isinstance(answer, dict) else None

    def open_again(self, bucket: str) -> None:
        self._client("s3").delete_public_access_block(Bucket=bucket)

    def image(self, bucket: str) -> bytes:
        """All that the bucket is configured with, byte for byte."""
        names = ("public_access_block", "bucket_policy", "bucket_acl", "bucket_tagging", "bucket_website")
        return json.dumps({name: self._part(bucket, name) for name in names}, sort_keys=True, default=str).encode()

    def _part(self, bucket: str, name: str) -> Any:
        from botocore.exceptions import ClientError

        try:
            answer = getattr(self._client("s3"), f"get_{name}")(Bucket=bucket)
        except ClientError as error:
            return error.response["Error"]["Code"]
        return {key: value for key, value in answer.items() if key != "ResponseMetadata"}

    def _service(self) -> str:
        ec2, ecs = self._client("ec2"), self._client("ecs")
        subnet = ec2.describe_subnets()["Subnets"][0]["SubnetId"]
        ecs.create_cluster(clusterName="shop")
        ecs.register_task_definition(
            family="web",
            requiresCompatibilities=["FARGATE"],
            networkMode="awsvpc",
            cpu="256",
            memory="512",
            containerDefinitions=[{"name": "web", "image": "acme/web:1.4", "memory": 512}],
        )
        ecs.create_service(cluster="shop", serviceName="web", taskDefinition="web", desiredCount=1)
        # moto's services start nothing, so the task says itself whose it is.
        started = ecs.run_task(
            cluster="shop",
            taskDefinition="web",
            launchType="FARGATE",
            group="service:web",
            networkConfiguration={"awsvpcConfiguration": {"subnets": [subnet], "securityGroups": ["sg-12345678"]}},
        )
        return str(started["tasks"][0]["taskArn"])

    def _client(self, service: str) -> Any:
        if service not in self._clients:
            import boto3
            from botocore.config import Config

            self._clients[service] = boto3.session.Session().client(
                service,
                region_name=REGION,
                endpoint_url=self.url,
                aws_access_key_id=_KEYS["AWS_ACCESS_KEY_ID"],
                aws_secret_access_key=_KEYS["AWS_SECRET_ACCESS_KEY"],
                config=Config(proxies={}, s3={"addressing_style": "path"}),
            )
        return self._clients[service]


def _block(closed: bool) -> dict[str, bool]:
    """Public ACLs are blocked in both buckets; what lets everybody in is the policy."""
    return {
        "BlockPublicAcls": True,
        "IgnorePublicAcls": True,
        "BlockPublicPolicy": closed,
        "RestrictPublicBuckets": closed,
    }
