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
        self.scaling: Any = moto.client("autoscaling")
        self.balancing: Any = moto.client("elbv2")
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

    def serve(self, instance: str, name: str = "shop") -> tuple[str, str]:
        """Puts it into an Auto Scaling group behind a target group, and into a target group that nobody but us tells of
        it, under a port of its own; both target groups."""
        behind, by_hand = (self.target_group(f"{name}-{which}") for which in ("behind", "by-hand"))
        self.scaling.create_launch_configuration(
            LaunchConfigurationName=name, ImageId="ami-12c6146b", InstanceType="t3.small"
        )
        self.scaling.create_auto_scaling_group(
            AutoScalingGroupName=name,
            LaunchConfigurationName=name,
            MinSize=0,
            MaxSize=1000,
            DesiredCapacity=0,
            VPCZoneIdentifier=self.subnets[0],
            TargetGroupARNs=[behind],
        )
        self.scaling.attach_instances(AutoScalingGroupName=name, InstanceIds=[instance])
        self.balancing.register_targets(TargetGroupArn=by_hand, Targets=[{"Id": instance, "Port": 8443}])
        return behind, by_hand

    def target_group(self, name: str) -> str:
        made = self.balancing.create_target_group(Name=name, Protocol="HTTP", Port=80, VpcId=self.id)
        return str(made["TargetGroups"][0]["TargetGroupArn"])

    def targets(self, group: str) -> list[tuple[str, int]]:
        found = self.balancing.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
        return sorted((each["Target"]["Id"], each["Target"]["Port"]) for each in found)

    def service(self, instance: str, *groups: str, name: str = "shop") -> list[Any]:
        """What its Auto Scaling group says of it, and the ports under which it is in each of the target groups."""
        ports = [[port for target, port in self.targets(group) if target == instance] for group in groups]
        return [self.members(name).get(instance), *ports]

    def members(self, group: str = "shop") -> dict[str, str]:
        """Instance -> what the Auto Scaling group says of it."""
        (found,) = self.scaling.describe_auto_scaling_groups(AutoScalingGroupNames=[group])["AutoScalingGroups"]
        return {each["InstanceId"]: each["LifecycleState"] for each in found["Instances"]}

    def protection(self, instance: str) -> list[Any]:
        """What a termination would do, and whether it is possible."""
        names = ("disableApiTermination", "instanceInitiatedShutdownBehavior")
        said = [self.ec2.describe_instance_attribute(InstanceId=instance, Attribute=name) for name in names]
        volumes = [
            [mapping["DeviceName"], mapping["Ebs"]["VolumeId"], mapping["Ebs"]["DeleteOnTermination"]]
            for mapping in self._described(instance)["BlockDeviceMappings"]
        ]
        return [said[0]["DisableApiTermination"], said[1]["InstanceInitiatedShutdownBehavior"], sorted(volumes)]

    def add_volume(self, instance: str, device: str = "/dev/sdf") -> str:
        """A second one, that goes with its instance."""
        zone = self._described(instance)["Placement"]["AvailabilityZone"]
        volume = str(self.ec2.create_volume(AvailabilityZone=zone, Size=8)["VolumeId"])
        self.ec2.attach_volume(VolumeId=volume, InstanceId=instance, Device=device)
        self.set_deleted_with_it(instance, device, deleted=True)
        return volume

    def set_deleted_with_it(self, instance: str, device: str, *, deleted: bool) -> None:
        mapping = {"DeviceName": device, "Ebs": {"DeleteOnTermination": deleted}}
        self.ec2.modify_instance_attribute(InstanceId=instance, BlockDeviceMappings=[mapping])

    def _described(self, instance: str) -> dict[str, Any]:
        found: dict[str, Any] = self.ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]
        return found

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
        said = [attached, self.policies(role) if role else None, self.protection(instance)]
        return json.dumps(said, sort_keys=True).encode()

    def _attached(self, instance: str) -> list[dict[str, Any]]:
        filters = [{"Name": "attachment.instance-id", "Values": [instance]}]
        found = self.ec2.describe_network_interfaces(Filters=filters)["NetworkInterfaces"]
        return sorted(found, key=lambda interface: int(interface["Attachment"]["DeviceIndex"]))


def _tags(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]
