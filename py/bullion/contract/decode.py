"""A strict decoder from JSON values to dataclasses, and back.

Unknown, missing and mistyped fields are refused with their path. Unions of dataclasses are told
apart by their literal `type`, `kind` or `role` field. It owns no schema.
"""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from typing import Any, TypeVar

from bullion.contract.errors import Refusal

T = TypeVar("T")
_NAMES: dict[type, tuple[str, ...]] = {}
_SCALARS = (int, str, bool)


def decode(kind: type[T] | Any, value: Any, path: str = "") -> T:
    """Read `value` (parsed JSON) as `kind`; raises Refusal("malformed_message") naming the path."""
    return _decode(kind, value, path)


def encode(value: Any) -> Any:
    """A dataclass as plain JSON values; tuples become lists, None stays."""
    if value is None or isinstance(value, (str, int, float)):
        return value
    names = _NAMES.get(type(value))
    if names is None and dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = _NAMES[type(value)] = tuple(f.name for f in dataclasses.fields(value))
    if names is not None:
        return {name: encode(getattr(value, name)) for name in names}
    if isinstance(value, (list, tuple)):
        return [encode(item) for item in value]
    if isinstance(value, dict):
        return {key: encode(item) for key, item in value.items()}
    return value


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


@functools.cache
def _fields(kind: Any) -> dict[str, dataclasses.Field[Any]]:
    return {field.name: field for field in dataclasses.fields(kind)}


def _fault(path: str, wanted: str, value: Any) -> Refusal:
    where = path or "message"
    return Refusal("malformed_message", f"{where} must be {wanted}, not {value!r:.80}", where)


def _decode(kind: Any, value: Any, path: str) -> Any:
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return value
    if origin in (typing.Union, types.UnionType):
        return _union(args, value, path)
    if origin is typing.Literal:
        if value not in args or isinstance(value, bool) != any(isinstance(a, bool) for a in args):
            raise _fault(path, "one of " + ", ".join(map(repr, args)), value)
        return value
    if origin in (list, tuple):
        if not isinstance(value, list):
            raise _fault(path, "a list", value)
        if args[0] in _SCALARS and all(type(item) is args[0] for item in value):
            return tuple(value) if origin is tuple else value  # a prompt has thousands of ids
        items = [_decode(args[0], item, f"{path}[{i}]") for i, item in enumerate(value)]
        return tuple(items) if origin is tuple else items
    if origin is dict:
        if not isinstance(value, dict):
            raise _fault(path, "an object", value)
        return {key: _decode(args[1], item, f"{path}.{key}") for key, item in value.items()}
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind, value, path)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is type(None):
        if value is not None:
            raise _fault(path, "null", value)
        return None
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise _fault(path, f"a {kind.__name__}", value)
    return value


def _dataclass(kind: Any, value: Any, path: str) -> Any:
    if not isinstance(value, dict):
        raise _fault(path, "an object", value)
    hints = _hints(kind)
    fields = _fields(kind)
    unknown = [name for name in value if name not in fields]
    if unknown:
        raise _fault(
            f"{path}.{unknown[0]}".lstrip("."), "left out: no such field", value[unknown[0]]
        )
    read = {}
    for name, field in fields.items():
        where = f"{path}.{name}".lstrip(".")
        if name in value:
            read[name] = _decode(hints[name], value[name], where)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise Refusal("malformed_message", f"{where} is missing", where)
    return kind(**read)


@functools.cache
def _options(tagged: tuple[Any, ...]) -> list[tuple[str, dict[str, Any]]]:
    """For each tag the dataclasses by its values. Read once: looking at hints takes long."""
    found = []
    for tag in ("type", "kind", "role"):
        options: dict[str, Any] = {}
        for option in tagged:
            for named in typing.get_args(_hints(option).get(tag)):
                options.setdefault(named, option)
        found.append((tag, options))
    return found


def _union(args: tuple[Any, ...], value: Any, path: str) -> Any:
    if value is None and type(None) in args:
        return None
    rest = [a for a in args if a is not type(None)]
    if len(rest) == 1:
        return _decode(rest[0], value, path)
    tagged = [a for a in rest if dataclasses.is_dataclass(a)]
    if tagged and isinstance(value, dict):
        for tag, options in _options(tuple(tagged)):
            named = value.get(tag)
            if isinstance(named, str) and named in options:
                return _decode(options[named], value, path)
        raise _fault(
            path, "one of " + ", ".join(sorted(getattr(a, "__name__", "?") for a in tagged)), value
        )
    for option in rest:
        try:
            return _decode(option, value, path)
        except Refusal:
            continue
    raise _fault(path, "one of " + ", ".join(str(a) for a in rest), value)
