"""The source of code that was handed in, with what it uses of its notebook, so that another process can run it.

Taken along: modules, functions and classes of the same notebook or file, and values that can be pickled. What
cannot be, such as a lab, is not there when the code runs.
"""

from __future__ import annotations

import ast
import inspect
import linecache
import os
import pickle
import sys
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import CodeType, FunctionType, ModuleType
from typing import Any

from labkit.errors import LabkitError

LARGEST_BYTES = 1 << 20  # of one value that is taken along
GENERATED = "<string>"  # the file of what dataclasses and the like write themselves
Statement = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Assign


class NoSource(LabkitError):
    """The source cannot be found, or is none that a process of its own could run."""


@dataclass(frozen=True)
class Handed:
    """Code that was handed in.

    Attributes:
        name: of the function or class.
        parts: the source of each definition by its name, what it uses first and itself last.
        imports: the lines that import what they use.
        values: what else they use, by name, pickled.
        shown: the same values as a reader sees them.
    """

    name: str
    parts: dict[str, str]
    imports: list[str] = field(default_factory=list)
    values: dict[str, bytes] = field(default_factory=dict)
    shown: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All of it, as one would read it."""
        above = "\n".join([*self.imports, *self.shown])
        return "\n\n\n".join(filter(None, [above, *(part.rstrip() for part in self.parts.values())])) + "\n"

    @property
    def is_skeleton(self) -> bool:
        """Whether three dots still stand where a statement should be."""
        (written,) = ast.parse(self.parts[self.name]).body
        return any(map(_is_open, ast.walk(written))) or (isinstance(written, ast.ClassDef) and _has_dots(written))


def handed(value: Any) -> Handed:
    """A function or class, and what it uses.

    Raises:
        NoSource: it was not written with ``def`` or ``class``, or where that stands cannot be read.
    """
    found = Handed(getattr(inspect.unwrap(value), "__name__", ""), {})
    _take(value, found, set(), vars(sys.modules.get("__main__", sys)) if isinstance(value, type) else {})
    return found


def _take(value: Any, into: Handed, taken: set[str], outer: Mapping[str, Any], name: str = "") -> None:
    """Take a function or class along, of which *name* is another name; *outer* is what names mean where it is used."""
    value = inspect.unwrap(value)
    text = _source(value, name)
    taken.add(value.__name__)
    scope = _scope(value, outer)
    for used in _used(text):
        if used in scope and used not in taken:
            _take_used(used, scope[used], into, taken, scope)
    into.parts[value.__name__] = text


def _take_used(name: str, thing: Any, into: Handed, taken: set[str], scope: Mapping[str, Any]) -> None:
    taken.add(name)
    if isinstance(thing, ModuleType):
        into.imports.append(f"import {thing.__name__}" + (f" as {name}" if thing.__name__ != name else ""))
    elif isinstance(thing, FunctionType | type) and _is_importable(thing):
        alias = f" as {name}" if thing.__name__ != name else ""
        into.imports.append(f"from {thing.__module__} import {thing.__name__}{alias}")
    elif isinstance(thing, FunctionType | type):
        _take(thing, into, taken, scope, name)
        if thing.__name__ != name and not _assigns(into.parts[thing.__name__], name):
            into.parts[name] = f"{name} = {thing.__name__}\n"
    else:
        _take_value(name, thing, into, taken, scope)


def _take_value(name: str, thing: Any, into: Handed, taken: set[str], scope: Mapping[str, Any]) -> None:
    try:
        data = pickle.dumps(thing)
    except Exception:  # whatever its own __reduce__ raises
        return
    if len(data) <= LARGEST_BYTES:
        if type(thing).__module__ == "__main__" and type(thing).__name__ not in taken:
            _take(type(thing), into, taken, scope)
        into.values[name] = data
        into.shown.append(f"{name} = {thing!r:.200}")


def _is_importable(thing: Any) -> bool:
    module = sys.modules.get(thing.__module__)
    return thing.__module__ != "__main__" and getattr(module, thing.__qualname__, None) is thing


# -- where it is written ----------------------------------------------------------------------------------------------


def _source(value: Any, name: str = "") -> str:
    """The text of the definition, decorators included; or of what was assigned to *name*."""
    for function in _functions(value):
        code = function.__code__
        text = "".join(linecache.getlines(code.co_filename))
        for node in _statements(text):
            stands_here = _holds(node, code) if isinstance(value, type) else _first(node) == code.co_firstlineno
            if _is_of(node, value, name) and stands_here:
                return _cut(text, node)
    if isinstance(value, type):  # none of its methods says where: it may have none
        for text in _cells(value):
            for node in reversed(_statements(text)):
                if _is_of(node, value, name) and _fits(node, value):
                    return _cut(text, node)
    raise NoSource(f"The source of {value.__name__} is not found: write it in a cell of its own, with def or class")


def _cells(value: type) -> Iterator[str]:
    """The texts in which a class may have been written: cells, the newest first, and the file that runs."""
    for file, entry in reversed([*linecache.cache.items()]):
        if len(entry) > 2 and not os.path.exists(file):
            yield "".join(entry[2])
    runs = getattr(sys.modules.get(value.__module__), "__file__", None)
    yield "".join(linecache.getlines(runs)) if runs else ""


def _statements(text: str) -> list[Statement]:
    try:
        return [node for node in ast.walk(ast.parse(text)) if isinstance(node, Statement)]
    except SyntaxError:  # not Python any more
        return []


def _is_of(node: Statement, value: Any, name: str) -> bool:
    """Whether it defines the function or class: by its own name, or by assigning it, as of a namedtuple."""
    if isinstance(node, ast.Assign):
        is_made = isinstance(node.value, ast.Call if isinstance(value, type) else ast.Lambda)
        return is_made and _is_name(node, name)
    return node.name == value.__name__ and isinstance(node, ast.ClassDef) == isinstance(value, type)


def _fits(node: Statement, value: type) -> bool:
    """Whether a class may be of this statement: what is written in its body is what the class has."""
    if not isinstance(node, ast.ClassDef):
        return True
    methods = (part for part in node.body if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef))
    if any(part.name not in vars(value) for part in methods):
        return False
    body: dict[str, ast.expr] = {}
    for part in node.body:
        if isinstance(part, ast.Assign):
            body |= {target.id: part.value for target in part.targets if isinstance(target, ast.Name)}
    return all(hasattr(value, name) and _equals(getattr(value, name), written) for name, written in body.items())


def _equals(held: Any, written: ast.expr) -> bool:
    """Whether something, or the value of a member of an enumeration, is what is written; true if that is no literal."""
    try:
        literal = ast.literal_eval(written)
    except ValueError:
        return True
    return bool(literal in (held, getattr(held, "value", held)))


def _first(node: Statement) -> int:
    decorators = [] if isinstance(node, ast.Assign) else node.decorator_list
    return min([node.lineno, *(each.lineno for each in decorators)])


def _cut(text: str, node: Statement) -> str:
    return textwrap.dedent("\n".join(text.splitlines()[_first(node) - 1 : node.end_lineno])) + "\n"


def _holds(node: Statement, code: CodeType) -> bool:
    return node.lineno <= code.co_firstlineno <= (node.end_lineno or 0)


def _assigns(text: str, name: str) -> bool:
    return any(isinstance(node, ast.Assign) and _is_name(node, name) for node in ast.parse(text).body)


def _is_name(node: ast.Assign, name: str) -> bool:
    return any(isinstance(target, ast.Name) and target.id == name for target in node.targets)


def _functions(value: Any) -> Iterator[FunctionType]:
    """A function itself; of a class, the methods that are written in it."""
    for member in [value] if not isinstance(value, type) else vars(value).values():
        function = inspect.unwrap(getattr(member, "__func__", member))
        if isinstance(function, FunctionType) and (
            not isinstance(value, type)
            or (
                function.__qualname__.startswith(f"{value.__qualname__}.")
                and function.__module__ == value.__module__
                and function.__code__.co_filename != GENERATED
            )
        ):
            yield function


def _scope(value: Any, outer: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the names in it mean, but for its own and Python's."""
    found: dict[str, Any] = {} if inspect.isfunction(value) else dict(outer)
    for function in _functions(value):
        found |= function.__globals__ | dict(inspect.getclosurevars(function).nonlocals)
    return found


def _used(text: str) -> list[str]:
    names = (node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name))
    return list(dict.fromkeys(names))


def _is_open(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _has_dots(node)


def _has_dots(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> bool:
    return any(isinstance(s, ast.Expr) and getattr(s.value, "value", None) is Ellipsis for s in node.body)
