"""The error codes of AWS that we understand, and which of our errors each one is. Data for `cloud.translate`.

Sources: botocore's list of throttling codes (retries/standard.py); the error pages of the S3, ECS, STS, EC2, IAM and
Security Hub API references; "Common Errors" of each. A HEAD request has no body: there the
SDK gives the HTTP status as code.
"""

from typing import Final

from quarantine.errors import Conflict, Denied, Gone, ProviderError, Throttled, Unknown, Unreachable


class Absent(ProviderError):
    """The resource is there, but this was never configured. Not a kind of Gone; `AwsCloud.read_or_absent` takes it."""


_CODES: Final[dict[type[ProviderError], tuple[str, ...]]] = {
    Throttled: (
        "429",
        "BandwidthLimitExceeded",
        "EC2ThrottledException",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
    ),
    Denied: (
        "403",
        "AccessDenied",
        "AccessDeniedException",
        "AccountProblem",
        "AllAccessDisabled",
        "AuthorizationError",
        "AuthorizationErrorException",
        "Forbidden",
        "UnauthorizedAccess",
        "UnauthorizedException",
        "UnauthorizedOperation",
    ),
    Gone: (
        "404",
        "ClusterNotFoundException",
        "DBClusterSnapshotNotFoundFault",
        "DBSnapshotNotFound",
        "DBSnapshotNotFoundFault",
        "InvalidAMIID.NotFound",
        "InvalidAMIID.Unavailable",
        "InvalidGroup.NotFound",
        "InvalidInstanceID.NotFound",
        "InvalidNetworkInterfaceID.NotFound",
        "InvalidPermission.NotFound",
        "InvalidPrefixListID.NotFound",
        "InvalidSecurityGroupRuleId.NotFound",
        "InvalidSnapshot.NotFound",
        "NoSuchBucket",
        "NoSuchEntity",
        "NotFound",
        "ResourceNotFound",
        "ResourceNotFoundException",
        "ServiceNotFoundException",
        "TargetGroupNotFound",
        "TrailNotFoundException",
    ),
    Absent: (
        "NoSuchBucketPolicy",
        "NoSuchPublicAccessBlockConfiguration",
        "NoSuchTagSet",
        "NoSuchWebsiteConfiguration",
    ),
    Conflict: (
        "409",
        "412",
        "ConcurrentModification",
        "ConcurrentModificationException",
        "ConditionalRequestConflict",
        "ConflictException",
        "DependencyViolation",
        "EntityAlreadyExists",
        "InvalidGroup.Duplicate",
        "InvalidPermission.Duplicate",
        "OperationAborted",
        "PreconditionFailed",
        "ResourceConflictException",
        "ResourceContention",
        "ResourceInUseException",
        "ScalingActivityInProgress",
    ),
    # Credentials that AWS does not take. The request was not carried out.
    Unreachable: (
        "401",
        "AuthFailure",
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "InvalidToken",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "NotSignedUp",
        "OptInRequired",
        "RequestExpired",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
        "UnrecognizedClientException",
    ),
    # For a read, the same is Transient.
    Unknown: (
        "408",
        "InternalError",
        "InternalFailure",
        "RequestTimeout",
        "RequestTimeoutException",
    ),
}

CODES: Final = {code: ours for ours, codes in _CODES.items() for code in codes}
