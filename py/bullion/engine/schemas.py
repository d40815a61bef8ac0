"""What a JSON schema's text says of its values before any is written: is there one, and how large it is.

It errs on one side: `has_value` denies only what is certain, as a schema that needs itself again and
again. What it lets pass the grammar still watches (constrain.py). Policy code; no torch.
"""

from __future__ import annotations

from collections import deque
from typing import Any
from urllib.parse import unquote

_TYPES = frozenset({"null", "boolean", "integer", "number", "string", "array", "object"})
_MOST_LOOKS = 20_000
"""Schemas looked at before the question is left open: a tenth of a second."""


def properties_in(schema: Any) -> int:
    """Properties that all objects of a schema name together; the steps of its grammar grow with them."""
    count, left = 0, [schema]
    while left:
        node = left.pop()
        if isinstance(node, dict):
            named = node.get("properties")
            count += len(named) if isinstance(named, dict) else 0
            left += node.values()
        elif isinstance(node, list):
            left += node
    return count


def has_value(schema: Any) -> bool:
    """False: no finite value can obey it. True: one can, or nobody knows."""
    return _Values(schema).exist()


class _OpenQuestion(Exception):
    """There is more to look at than the answer is worth."""


class _Values:
    """The least set of referenced schemas that have a value: each is looked at again when one that it
    waits for turns out to have one, so what waits for itself stays out."""

    def __init__(self, root: Any) -> None:
        self._root = root
        self._found: set[int] = set()  # ids of schemas that have a value
        self._waiting: dict[int, list[Any]] = {}  # by the id of the schema that is waited for
        self._todo: deque[Any] = deque([root])
        self._seen = {id(root)}
        self._looks = 0

    def exist(self) -> bool:
        try:
            while self._todo:
                node = self._todo.pop()
                if id(node) not in self._found and self._can(node, _TYPES, node):
                    self._found.add(id(node))
                    self._todo += self._waiting.pop(id(node), [])
        except _OpenQuestion:
            return True
        return id(self._root) in self._found

    def _can(self, schema: Any, types: frozenset[str], asking: Any) -> bool:
        """Whether a value of one of `types` may obey it, as far as is known while `asking` is looked at."""
        self._looks += 1
        if self._looks > _MOST_LOOKS:
            raise _OpenQuestion
        if schema is False:
            return False
        if not isinstance(schema, dict) or (schema is not self._root and "$id" in schema):
            return True
        types = _narrowed(schema.get("type"), types)
        if "$ref" in schema and not self._referred(schema["$ref"], asking):
            return False
        if not all(self._can(part, types, asking) for part in _list(schema.get("allOf"))):
            return False
        for key in ("anyOf", "oneOf"):
            ways = _list(schema.get(key))
            if ways and not any(self._can(way, types, asking) for way in ways):
                return False
        return any(self._can_be(type, schema, asking) for type in types)

    def _can_be(self, type: str, schema: dict[str, Any], asking: Any) -> bool:
        if type == "object":
            return self._can_be_object(schema, asking)
        return type != "array" or self._can_be_array(schema, asking)

    def _can_be_object(self, schema: dict[str, Any], asking: Any) -> bool:
        properties, patterns = _dict(schema.get("properties")), schema.get("patternProperties")
        others = True if patterns else schema.get("additionalProperties", True)
        for name in _list(schema.get("required")):
            wanted = properties.get(name, others) if isinstance(name, str) else True
            if not self._can(wanted, _TYPES, asking):
                return False
        if not _count(schema.get("minProperties")):
            return True
        return any(self._can(s, _TYPES, asking) for s in [others, *properties.values()])

    def _can_be_array(self, schema: dict[str, Any], asking: Any) -> bool:
        least = _count(schema.get("minItems"))
        first, others = _list(schema.get("prefixItems")), schema.get("items", True)
        if isinstance(others, list):  # as drafts before 2020 wrote it
            first, others = others, schema.get("additionalItems", True)
        needed = first[:least] if least <= len(first) else [*first, others]
        return all(self._can(item, _TYPES, asking) for item in needed)

    def _referred(self, ref: Any, asking: Any) -> bool:
        known, target = _at(self._root, ref)
        if not known or id(target) in self._found:
            return True
        self._waiting.setdefault(id(target), []).append(asking)
        if id(target) not in self._seen:
            self._seen.add(id(target))
            self._todo.append(target)
        return False


def _at(root: Any, ref: Any) -> tuple[bool, Any]:
    """Where a JSON pointer into this schema leads; not known: elsewhere, or nowhere."""
    if not isinstance(ref, str) or not (ref == "#" or ref.startswith("#/")):
        return False, None
    node = root
    for part in unquote(ref).split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(node, dict) and name in node and (node is root or "$id" not in node):
            node = node[name]
        elif isinstance(node, list) and name.isdecimal() and int(name) < len(node):
            node = node[int(name)]
        else:
            return False, None
    return isinstance(node, dict), node


def _narrowed(written: Any, types: frozenset[str]) -> frozenset[str]:
    named = written if isinstance(written, list) else [written]
    if not all(isinstance(name, str) for name in named):
        return types
    return types & (frozenset(named) | ({"integer"} if "number" in named else frozenset()))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _count(value: Any) -> int:
    return int(min(value, 2**31)) if isinstance(value, int | float) and value > 0 else 0
