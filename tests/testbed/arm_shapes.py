"""What the SDKs' typed models say of a body: which names it may have, and which of them a client may write.

Two generations of models: those that keep what they do not know (`_attr_to_rest_field`), and those before them
(`_attribute_map`, of azure-mgmt-authorization and azure-mgmt-containerinstance).
"""

import re
import sys
import typing
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple


class Field(NamedTuple):
    model: Any
    """The model of its value, or of each value of a list or mapping; None for plain values."""
    many: bool
    writable: bool
    mapping: bool = False


def unknown(model: str, body: Any) -> list[str]:
    """Paths in `body` that the model does not have."""
    return [path for path, field in _walk(_model(model), body, "") if field is None]


def unwritable(model: str, body: Any) -> list[str]:
    """Paths in `body` that only the server writes."""
    return [path for path, field in _walk(_model(model), body, "") if field is not None and not field.writable]


def _walk(model: Any, body: Any, path: str) -> list[tuple[str, Field | None]]:
    found: list[tuple[str, Field | None]] = []
    fields = _fields(model)
    for key, value in (body or {}).items():
        field = fields.get(key)
        found.append((f"{path}{key}", field))
        if field is None or field.model is None or value is None:
            continue
        values = value if field.many else value.values() if field.mapping else [value]
        for each in values:
            found += _walk(field.model, each, f"{path}{key}.")
    return found


@cache
def _model(name: str) -> Any:
    module, _, class_ = name.partition(":")
    return getattr(import_module(module), class_)


@cache
def _fields(model: Any) -> dict[str, Field]:
    if isinstance(model, _Part):
        return model.fields()
    if hasattr(model, "_attribute_map"):
        return _Part(model, "").fields()
    model()  # fills its table of fields
    package = model.__module__.rpartition(".models.")[0] + ".models"
    names = {**vars(sys.modules[model.__module__]), "_models": import_module(package), "_types": typing}
    hints = typing.get_type_hints(model, names)
    fields = {}
    for name, rest in model._attr_to_rest_field.items():
        many, mapping, inner = _inner(hints[name])
        writable = rest._visibility != ["read"]
        fields[rest._rest_name] = Field(inner, many, writable, mapping)
    return fields


def _inner(hint: Any) -> tuple[bool, bool, Any]:
    """(is it a list, a mapping, and of which model)"""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is list:
        return True, False, _inner(arguments[0])[2]
    if origin is dict:
        return False, True, _inner(arguments[1])[2]
    if isinstance(hint, type) and any(base.__name__ == "Model" for base in hint.__mro__):
        return False, False, hint
    for argument in arguments:
        many, mapping, inner = _inner(argument)
        if inner is not None:
            return many, mapping, inner
    return False, False, None


class _Part(NamedTuple):
    """An older model, or what it keeps under a dotted prefix: `properties.roleDefinitionId`."""

    model: Any
    prefix: str

    def fields(self) -> dict[str, Field]:
        fields: dict[str, Field] = {}
        for name, entry in self.model._attribute_map.items():
            key = entry["key"].replace("\\.", "\0")
            if not key.startswith(self.prefix):
                continue
            head, _, rest = key[len(self.prefix) :].partition(".")
            if rest:
                fields[head] = Field(_Part(self.model, f"{self.prefix}{head}."), many=False, writable=True)
                continue
            kind = entry["type"]
            inner = re.sub(r"[\[\]{}]", "", kind)
            models = sys.modules[self.model.__module__]
            readonly = bool(getattr(self.model, "_validation", {}).get(name, {}).get("readonly"))
            fields[head.replace("\0", ".")] = Field(
                getattr(models, inner, None), kind.startswith("["), not readonly, kind.startswith("{")
            )
        return fields
