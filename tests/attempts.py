"""Wrong attempts at an exercise whose answer is code: the solution of our notebook, with one slip in it."""

from __future__ import annotations

from cells import cell, code_with
from labkit.claims.coding import Coding, NotKept


def solution(notebook: str, name: str) -> str:
    """The class of this name in the solutions to a notebook, without its being handed in."""
    return code_with(f"solutions/{notebook}", f"class {name}").partition("\nlabkit.answer(")[0]


def slipped(source: str, *changes: tuple[str, str]) -> str:
    """*source* with each of these texts, which must be in it, replaced by another."""
    for old, new in changes:
        assert old in source, old
        source = source.replace(old, new)
    return source


def first_broken(coding: Coding, source: str, name: str) -> tuple[str, str, str]:
    """The first promise that this code does not keep: its sentence, what was found, the hint. Empty if it keeps all."""
    code = cell(source)[name]
    for promise in coding.promises:
        try:
            promise.keep(code)
        except NotKept as error:
            return promise.sentence, str(error), error.hint or promise.hint
    return "", "", ""
