"""Which resource a detector means: by its type in ASFF and its ARN or name, or by whose access key it is. Pure."""

import re
from typing import Any, Final, NamedTuple

from quarantine.errors import Malformed
from quarantine.model import Resource
from quarantine_aws import arn
from quarantine_aws.cloud import GLOBAL
from quarantine_aws.findings import ACCOUNT, bucket_resource, instance_resource, kind_of, task_resource


class _Form(NamedTuple):
    kind: str
    service: str
    path: str
    """What stands after the account in its ARN; the first group is what we call it by."""
    everywhere: bool = False
    """Belongs to an account and to none of its regions."""


# Security Hub User Guide, "Required top-level ASFF attributes", Resources; Service Authorization Reference.
_FORMS: Final = {
    "AwsEc2SecurityGroup": _Form("aws:security-group", "ec2", r"security-group/(sg-[0-9a-f]+)"),
    "AwsLambdaFunction": _Form("aws:lambda-function", "lambda", r"function:([\w-]{1,140})(?::.+)?"),
    "AwsRdsDbInstance": _Form("aws:rds-db-instance", "rds", r"db:(.+)"),
    "AwsRdsDbSnapshot": _Form("aws:rds-snapshot", "rds", r"snapshot:(.+)"),
    "AwsRdsDbClusterSnapshot": _Form("aws:rds-cluster-snapshot", "rds", r"cluster-snapshot:(.+)"),
    "AwsIamUser": _Form("aws:iam-user", "iam", r"user/(?:.*/)?([\w+=,.@-]{1,64})", everywhere=True),
    "AwsIamRole": _Form("aws:iam-role", "iam", r"role/(?:.*/)?([\w+=,.@-]{1,64})", everywhere=True),
}
_KEY_OF: Final = {"IAMUser": "AwsIamUser", "AssumedRole": "AwsIamRole", "Role": "AwsIamRole"}
_READ: Final = {
    "AwsS3Bucket": bucket_resource,
    "AwsEcsTask": task_resource,
    "AwsEc2Instance": instance_resource,
}
_CAPITALS: Final = re.compile(r"[A-Z]{2,}(?=[A-Z][a-z]|[0-9]|$)")
"""`DB` of DBInstance, `EC` of EC2, `IAM`."""
_UNIQUE_ID: Final = re.compile(r"(A[A-Z]{3}[A-Z0-9]{8,})(?::.*)?")
"""IAM User Guide, "Unique identifiers"; a session's name follows that of its role."""


def resource(kind: str, identifier: str, scope: str, where: str) -> Resource | None:
    """None for a type that nothing is known about. Raises Malformed for what does not name one of its type."""
    form = _FORMS.get(kind)
    if form is None:
        return None
    parsed = arn.parse(identifier)
    if parsed is None and re.fullmatch(r"[\w+=,.@-]+", identifier, re.ASCII):
        name = identifier
    elif parsed and parsed.service == form.service and (found := re.fullmatch(form.path, parsed.resource, re.ASCII)):
        name = found[1]
    else:
        raise Malformed(f"'{where}' does not name an {form.kind.partition(':')[2]}: {identifier[:80]!r}")
    return Resource(kind=form.kind, id=name, scope=f"{scope.partition('/')[0]}/{GLOBAL}" if form.everywhere else scope)


def any_of(said: str, identifier: str, scope: str, where: str) -> Resource:
    """The resource of this type, in whatever spelling: what nothing is known about becomes visible by its type.

    An ARN that names an account or a region speaks before the scope. Raises Malformed.
    """
    kind, parsed = asff_type(said), arn.parse(identifier)
    account, _, region = scope.partition("/")
    if parsed and ACCOUNT.fullmatch(parsed.account):
        account = parsed.account
    place = f"{account}/{(parsed and parsed.region) or region}"
    if kind in _READ:
        return _READ[kind](identifier, place, where)
    known = resource(kind, identifier, place, where)
    return known or Resource(kind=kind_of(kind), id=identifier, scope=place)


def asff_type(said: str) -> str:
    """AWS::EC2::Instance (Config, Access Analyzer) and AWS_EC2_INSTANCE (Inspector) are AwsEc2Instance in ASFF."""
    if "::" in said:
        return "".join(_CAPITALS.sub(lambda found: found[0].capitalize(), word) for word in said.split("::"))
    return "".join(word.capitalize() for word in said.split("_")) if said.isupper() else said


def principal(whose: Any, name: Any, identifier: Any, scope: str) -> Resource | None:
    """The user or the role that an access key belongs to; None for root, federated users and what is not said.

    GuardDuty API Reference, AccessKeyDetails; Security Hub API Reference, AwsIamAccessKeyDetails.
    """
    if not isinstance(whose, str) or not isinstance(name, str) or whose not in _KEY_OF or not name:
        return None
    found = resource(_KEY_OF[whose], name, scope, "the name of the principal")
    unique = _UNIQUE_ID.fullmatch(identifier) if isinstance(identifier, str) else None
    return found.model_copy(update={"uid": unique[1]}) if found and unique else found
