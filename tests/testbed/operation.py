"""What a request asks for, in the provider's own words: "StopTask", "patch pods/status".

Derived from the request alone and, for AWS's REST services, from botocore's description of them.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from urllib.parse import parse_qsl, unquote, urlsplit

import botocore.session
from botocore.exceptions import UnknownServiceError

_CREDENTIAL_SCOPE = re.compile(r"Credential=[^/]+/\d{8}/[^/]+/([^/]+)/aws4_request")
_RPC = re.compile(r"^/service/[^/]+/operation/(\w+)$")
_KUBERNETES = re.compile(
    r"^/(?:api/[^/]+|apis/[^/]+/[^/]+)(?:/namespaces/[^/]+(?=/[^/]+))?"
    r"/(?P<resource>[a-z]+)(?:/(?P<name>[^/]+)(?:/(?P<subresource>[a-z]+))?)?$"
)
_KUBERNETES_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete", "GET": "get"}


def operation(method: str, target: str, headers: Mapping[str, str], body: bytes) -> str | None:
    """The operation's name; None if the request does not tell. Header names are in lower case."""
    url = urlsplit(target)
    if call := headers.get("x-amz-target"):
        return call.rpartition(".")[2]
    if call_path := _RPC.match(url.path):
        return call_path[1]
    if service := signed_for(headers):
        form = headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
        fields = dict(parse_qsl((body.decode() if form else "") + "&" + url.query, keep_blank_values=True))
        return fields.get("Action") or _rest_operation(service, method, target, headers)
    return _kubernetes_operation(method, url.path, url.query)


def signed_for(headers: Mapping[str, str]) -> str | None:
    """The AWS service that the request is signed for."""
    scope = _CREDENTIAL_SCOPE.search(headers.get("authorization", ""))
    return scope[1] if scope else None


def _kubernetes_operation(method: str, path: str, query: str) -> str | None:
    found = _KUBERNETES.match(path)
    if not found or method not in _KUBERNETES_VERBS:
        return None
    verb = _KUBERNETES_VERBS[method]
    if not found["name"]:
        watching = dict(parse_qsl(query)).get("watch") in ("1", "true", "True")
        verb = {"get": "watch" if watching else "list", "delete": "deletecollection"}.get(verb, verb)
    subresource = f"/{found['subresource']}" if found["subresource"] else ""
    return f"{verb} {found['resource']}{subresource}"


@dataclass(frozen=True)
class _Route:
    name: str
    method: str
    path: re.Pattern[str]
    query: frozenset[tuple[str, str]]  # an empty value: any
    headers: frozenset[str]

    @property
    def demands(self) -> tuple[int, int]:
        """The more a route demands, the more it means this one."""
        return len(self.query) + len(self.headers), len(self.path.pattern)

    def fits(self, method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> bool:
        return (
            method == self.method
            and self.path.fullmatch(path) is not None
            and all(name in query and value in ("", query[name]) for name, value in self.query)
            and all(name in headers for name in self.headers)
        )


def _rest_operation(service: str, method: str, target: str, headers: Mapping[str, str]) -> str | None:
    url = urlsplit(target)
    query = dict(parse_qsl(url.query, keep_blank_values=True))
    if service == "s3" and url.path.startswith("/v20180820/"):
        service = "s3control"  # signs as s3
    fitting = [route for route in _routes(service) if route.fits(method, unquote(url.path), query, headers)]
    return max(fitting, key=lambda route: route.demands).name if fitting else None


@cache
def _routes(service: str) -> tuple[_Route, ...]:
    try:
        model = botocore.session.Session().get_service_model(service)
    except UnknownServiceError:
        return ()
    routes = []
    for name in model.operation_names:
        described = model.operation_model(name)
        path, _, fixed = described.http["requestUri"].partition("?")
        shape = described.input_shape
        needed = [shape.members[member].serialization for member in shape.required_members] if shape else []
        query = set(parse_qsl(fixed, keep_blank_values=True))
        query |= {(place["name"], "") for place in needed if place.get("location") == "querystring"}
        names = {place["name"].lower() for place in needed if place.get("location") == "header"}
        pattern = re.compile("/?".join([_path_pattern(path.rstrip("/")), ""]))
        routes.append(_Route(name, described.http["method"], pattern, frozenset(query), frozenset(names)))
    return tuple(routes)


def _path_pattern(template: str) -> str:
    """Labels become wild cards: {Key+} spans slashes, {Bucket} does not."""
    parts = re.split(r"(\{[^}]+\})", template)
    return "".join(
        re.escape(part) if not part.startswith("{") else ".+" if part.endswith("+}") else "[^/]+" for part in parts
    )
