"""A VPC with IPv6, two subnets and three groups, and instances with two interfaces in it: what a customer has."""

import json
from typing import Any

from tests.testbed.aws import Moto

TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}
READ_ALL = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:Get*", "Resource": "*"}]}


class Vpc:
    """Everything here is done past any proxy, as the customer, or the customer's colleague, does it."""

    def __init__(self, moto: Moto) -> None:
        self.ec2: Any = moto.client("ec2")
        self.iam: Any = moto.client("iam")
        self.id = str(self.ec2.create_vpc(CidrBlock="10.9.0.0/16", AmazonProvidedIpv6CidrBlock=True)["Vpc"]["VpcId"])
        self.subnets = [self._subnet(f"10.9.{number}.0/24") for number in (1, 2)]
        self.web, self.db, self.admin = (self.group(name) for name in ("web", "db", "admin"))

    def _subnet(self, cidr: str) -> str:
        return str(self.ec2.create_subnet(VpcId=self.id, CidrBlock=cidr)["Subnet"]["SubnetId"])

    def group(self, name: str, tags: dict[str, str] | None = None) -> str:
        specification = [{"ResourceType": "security-group", "Tags": _tags(tags or {"made-by": "the customer"})}]
        made = self.ec2.create_security_group(
            GroupName=name, Description=name, VpcId=self.id, TagSpecifications=specification
        )
        return str(made["GroupId"])

    def instance(self, role: str | None = None, tags: dict[str, str] | None = None) -> str:
        """The first interface in `web` and `db`, the second one, in the other subnet, in `db` alone."""
        interfaces = [
            {"DeviceIndex": 0, "SubnetId": self.subnets[0], "Groups": [self.web, self.db]},
            {"DeviceIndex": 1, "SubnetId": self.subnets[1], "Groups": [self.db]},
        ]
        profile = {"IamInstanceProfile": {"Name": role}} if role else {}
        started = self.ec2.run_instances(
            ImageId="ami-12c6146b",
            MinCount=1,
            MaxCount=1,
            NetworkInterfaces=interfaces,
            TagSpecifications=[{"ResourceType": "instance", "Tags": _tags(tags or {"team": "shop"})}],
            **profile,
        )
        return str(started["Instances"][0]["InstanceId"])

    def role(self, name: str, path: str = "/") -> str:
        """A role with an inline policy of its own, and an instance profile of the same name; its id."""
        made = self.iam.create_role(RoleName=name, Path=path, AssumeRolePolicyDocument=json.dumps(TRUST))
        self.iam.put_role_policy(RoleName=name, PolicyName="read-all", PolicyDocument=json.dumps(READ_ALL))
        self.iam.create_instance_profile(InstanceProfileName=name)
        self.iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
        return str(made["Role"]["RoleId"])

    def attach(self, instance: str, index: int = 2) -> str:
        """A further interface, in `web`."""
        interface = self.ec2.create_network_interface(SubnetId=self.subnets[0], Groups=[self.web])
        identifier = str(interface["NetworkInterface"]["NetworkInterfaceId"])
        self.ec2.attach_network_interface(NetworkInterfaceId=identifier, InstanceId=instance, DeviceIndex=index)
        return identifier

    def detach(self, interface: str) -> None:
        found = self.ec2.describe_network_interfaces(NetworkInterfaceIds=[interface])["NetworkInterfaces"][0]
        self.ec2.detach_network_interface(AttachmentId=found["Attachment"]["AttachmentId"])

    def interfaces(self, instance: str) -> list[str]:
        """In the order of their device index."""
        return [str(interface["NetworkInterfaceId"]) for interface in self._attached(instance)]

    def groups(self, instance: str) -> list[list[str]]:
        """Of each interface."""
        return [sorted(group["GroupId"] for group in interface["Groups"]) for interface in self._attached(instance)]

    def put(self, interface: str, *groups: str) -> None:
        self.ec2.modify_network_interface_attribute(NetworkInterfaceId=interface, Groups=list(groups))

    def quarantine_groups(self) -> list[dict[str, Any]]:
        """As EC2 describes them: every group here that nobody of the customer's has made."""
        found = self.ec2.describe_security_groups(Filters=[{"Name": "vpc-id", "Values": [self.id]}])["SecurityGroups"]
        theirs = {self.web, self.db, self.admin}
        return [group for group in found if group["GroupId"] not in theirs and group["GroupName"] != "default"]

    def quarantine_group(self) -> dict[str, Any]:
        (group,) = self.quarantine_groups()
        return group

    def open_ssh(self, group: str) -> None:
        self.ec2.authorize_security_group_ingress(
            GroupId=group, IpProtocol="tcp", FromPort=22, ToPort=22, CidrIp="10.0.0.0/8"
        )

    def policies(self, role: str) -> dict[str, Any]:
        """The role's inline policies."""
        names = self.iam.list_role_policies(RoleName=role)["PolicyNames"]
        return {
            name: self.iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"] for name in sorted(names)
        }

    def image(self, instance: str, role: str | None = None) -> bytes:
        """Byte for byte what a release must give back."""
        attached = [
            [interface["NetworkInterfaceId"], sorted(group["GroupId"] for group in interface["Groups"])]
            for interface in self._attached(instance)
        ]
        return json.dumps([attached, self.policies(role) if role else None], sort_keys=True).encode()

    def _attached(self, instance: str) -> list[dict[str, Any]]:
        filters = [{"Name": "attachment.instance-id", "Values": [instance]}]
        found = self.ec2.describe_network_interfaces(Filters=filters)["NetworkInterfaces"]
        return sorted(found, key=lambda interface: int(interface["Attachment"]["DeviceIndex"]))


def _tags(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]
