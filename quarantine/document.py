"""A YAML document that remembers where each of its values stands, so that an error can say file, line and column.

Booleans are YAML 1.2's (`true`, `false`): a key `on` or `no` stays the word that was written.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from quarantine.errors import Misconfigured
from quarantine.text import closest, safe_text

Model = TypeVar("Model", bound=BaseModel)
Where = tuple[str | int, ...]

DEEPEST = 32
LARGEST = 1 << 20


class _Loader(yaml.CSafeLoader):
    """The C loader with YAML 1.2's booleans."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), list("tf"))


class Document:
    """The parsed `content` of one file, and the place of every value in it."""

    def __init__(self, name: str, content: Any, places: dict[Where, tuple[int, int]]) -> None:
        self.name = name
        self.content = content
        self._places = places

    def place(self, where: Where) -> str:
        """`file:line:column` of the value at `where`, or of the nearest value around it."""
        for length in range(len(where), -1, -1):
            found = self._places.get(where[:length])
            if found:
                return f"{self.name}:{found[0]}:{found[1]}"
        return self.name

    def error(self, where: Where, problem: str) -> Misconfigured:
        return Misconfigured(f"{self.place(where)}: {problem}")

    def parse(self, model: type[Model], at: Where = ()) -> Model:
        """The content at `at` as a `model`. Raises Misconfigured with every problem, one a line."""
        content = self.content
        for part in at:
            content = content[part]
        if not isinstance(content, dict):
            raise self.error(at, f"expected a mapping, found {_kind(content)}")
        try:
            return model.model_validate(content)
        except ValidationError as error:
            raise Misconfigured("\n".join(self._problems(error, model, at))) from None

    def _problems(self, error: ValidationError, model: type[BaseModel], at: Where) -> Iterable[str]:
        for problem in error.errors(include_url=False, include_input=False):
            where = self._known((*at, *problem["loc"]))
            if problem["type"] == "extra_forbidden":
                names = _fields(model, where[len(at) : -1])
                key = safe_text(where[-1] if where else "")
                yield f"{self.place(where)}: unknown key '{key}'.{closest(key, names)}"
            elif problem["type"] == "missing":
                yield f"{self.place(where[:-1])}: '{problem['loc'][-1]}' is missing"
            else:
                dotted = ".".join(str(part) for part in where)
                message = problem["msg"].removeprefix("Value error, ")
                yield f"{self.place(where)}: {dotted}: {message}"

    def _known(self, location: tuple[str | int, ...]) -> Where:
        """pydantic's location without the names of union members, which are not in the document."""
        where: Where = ()
        for part in location:
            if (*where, part) in self._places or part == location[-1]:
                where = (*where, part)
        return where


def _fields(model: type[BaseModel], where: Where) -> list[str]:
    """The names that may stand at `where` below `model`, as far as its annotations tell."""
    names = list(model.model_fields)
    current: Any = model
    for part in where:
        if isinstance(part, int):
            continue
        field = current.model_fields.get(part) if _is_model(current) else None
        current = next((item for item in _members(field.annotation) if _is_model(item)), None) if field else None
        names = list(current.model_fields) if current is not None else names
    return names


def _members(annotation: Any) -> Iterable[Any]:
    yield annotation
    for inner in getattr(annotation, "__args__", ()):
        yield from _members(inner)


def _is_model(item: Any) -> bool:
    return isinstance(item, type) and issubclass(item, BaseModel)


def read(path: Path) -> Document:
    """Read one YAML file. Raises Misconfigured with the place of the first mistake."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise Misconfigured(f"{path}: cannot be read ({error.strerror}). Does the path exist?") from error
    except UnicodeDecodeError as error:
        raise Misconfigured(f"{path}: is not UTF-8 text (byte {error.start})") from error
    return loads(text, str(path))


def loads(text: str, name: str) -> Document:
    """Parse YAML text; `name` is what errors call it."""
    if len(text) > LARGEST:
        raise Misconfigured(f"{name}: larger than {LARGEST} characters")
    loader = _Loader(text)
    try:
        _refuse_aliases(text, name)
        root = loader.get_single_node()
        places: dict[Where, tuple[int, int]] = {}
        content = {} if root is None else _build(name, loader, root, (), places)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        raise Misconfigured(f"{place}: not valid YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise Misconfigured(f"{name}: not valid YAML: {safe_text(error)}") from None
    finally:
        loader.dispose()
    return Document(name, content, places)


def _refuse_aliases(text: str, name: str) -> None:
    """Nested aliases make a small text a huge document; no file of ours needs one."""
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        if isinstance(event, yaml.AliasEvent):
            mark = event.start_mark
            place = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
            raise Misconfigured(f"{place}: aliases (*{safe_text(event.anchor)}) are not allowed: write the value out")


def _build(name: str, loader: _Loader, node: yaml.Node, where: Where, places: dict[Where, tuple[int, int]]) -> Any:
    mark = node.start_mark
    place = (mark.line + 1, mark.column + 1)
    places.setdefault(where, place)
    if len(where) > DEEPEST:
        raise Misconfigured(f"{name}:{place[0]}:{place[1]}: nested deeper than {DEEPEST}")
    if isinstance(node, yaml.SequenceNode):
        return [_build(name, loader, item, (*where, number), places) for number, item in enumerate(node.value)]
    if not isinstance(node, yaml.MappingNode):
        try:
            return loader.construct_object(node)
        except ValueError as error:
            raise Misconfigured(f"{name}:{place[0]}:{place[1]}: {error}") from None
    content: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
        at = f"{name}:{key_node.start_mark.line + 1}:{key_node.start_mark.column + 1}"
        if not isinstance(key, str) or key_node.tag == "tag:yaml.org,2002:merge":
            raise Misconfigured(f"{at}: a key must be plain text")
        if key in content:
            raise Misconfigured(f"{at}: '{safe_text(key)}' stands here twice")
        places[(*where, key)] = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
        content[key] = _build(name, loader, value_node, (*where, key), places)
    return content


def _kind(content: Any) -> str:
    return {list: "a list", str: "text", type(None): "nothing"}.get(type(content), type(content).__name__)
