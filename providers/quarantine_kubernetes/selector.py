"""Label selectors as apimachinery reads them, and the shape of JSON that nobody of us has made. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard


class Unjudged(Exception):
    """It says something that this version does not know, and may therefore mean anything."""


def selects(selector: Any, labels: Mapping[str, str]) -> bool:
    """A LabelSelector: all its requirements together; an empty one selects everything. Raises Unjudged."""
    selector = known(selector or {}, ("matchLabels", "matchExpressions"), "a selector")
    expected = known(selector.get("matchLabels") or {}, None, "matchLabels")
    expressions = selector.get("matchExpressions") or []
    if not listed(expressions):
        raise Unjudged("matchExpressions is not a list")
    # No short cut: a requirement that nobody can judge must not hide behind one that does not match.
    met = [_meets(expression, labels) for expression in expressions]
    return all(labels.get(key) == value for key, value in expected.items()) and all(met)


def _meets(expression: Any, labels: Mapping[str, str]) -> bool:
    expression = known(expression, ("key", "operator", "values"), "an expression")
    key, operator, values = expression.get("key"), expression.get("operator"), expression.get("values") or []
    if not isinstance(key, str) or not listed(values):
        raise Unjudged("an expression without a key or with odd values")
    if operator == "Exists":
        return key in labels
    if operator == "DoesNotExist":
        return key not in labels
    if operator in ("In", "NotIn") and values:
        found = key in labels and labels[key] in values
        return found if operator == "In" else not found  # NotIn: a pod without the key is selected
    raise Unjudged(f"operator {operator!r} with values {list(values)!r}")


def known(value: Any, fields: Sequence[str] | None, what: str) -> Mapping[str, Any]:
    """Raises Unjudged for what is not an object with these fields alone."""
    if not isinstance(value, Mapping):
        raise Unjudged(f"{what} is not an object")
    unknown = sorted(set(value) - set(fields)) if fields is not None else []
    if unknown:
        raise Unjudged(f"{what} has the unknown field {unknown[0]!r}")
    return value


def mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def listed(value: Any) -> TypeGuard[Sequence[Any]]:
    return isinstance(value, (list, tuple))


def items(value: Any) -> Sequence[Any]:
    return value if listed(value) else ()
