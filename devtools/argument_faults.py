"""Faults in the wiring between functions, for Cosmic Ray: swapped and lost arguments."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import parso
from cosmic_ray.operators.operator import Example, Operator

Position = tuple[tuple[int, int], tuple[int, int]]


def _arguments(node: Any) -> list[Any]:
    """Return the arguments of a call of more than one; none for any other node."""
    if node.type != "arglist":
        return []
    return [child for child in node.children if child.type != "operator"]


def _keyword(argument: Any) -> bool:
    return argument.type == "argument" and argument.children[1] == "="


def _value(argument: Any) -> str:
    return argument.children[2].get_code() if _keyword(argument) else argument.get_code()


class SwapArguments(Operator):
    """Two neighbouring arguments of a call exchange their values."""

    def mutation_positions(self, node: Any) -> Iterator[Position]:
        for first, second in self._pairs(node):
            yield first.start_pos, second.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        first, second = self._pairs(node)[index]
        codes = {
            first: _with_value(first, _value(second)),
            second: _with_value(second, _value(first)),
        }
        return _rebuilt(node, codes)

    @staticmethod
    def _pairs(node: Any) -> list[tuple[Any, Any]]:
        given = _arguments(node)
        plain = [a for a in given if a.type != "argument" or _keyword(a)]  # no *args, **kwargs
        pairs = zip(plain, plain[1:], strict=False)
        return [(a, b) for a, b in pairs if _value(a).strip() != _value(b).strip()]

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        return (Example("f(a, b)", "f(b, a)"), Example("f(x=a, y=b)", "f(x=b, y=a)"))


class DropKeyword(Operator):
    """A keyword argument of a call is left out, so that its default counts."""

    def mutation_positions(self, node: Any) -> Iterator[Position]:
        for argument in filter(_keyword, _arguments(node)):
            yield argument.start_pos, argument.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        dropped = list(filter(_keyword, _arguments(node)))[index]
        kept = [child for child in _arguments(node) if child is not dropped]
        return _parsed(", ".join(child.get_code().strip() for child in kept))

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        return (Example("f(a, x=b)", "f(a)"),)


def _with_value(argument: Any, code: str) -> str:
    prefix = argument.get_first_leaf().prefix
    if _keyword(argument):
        return f"{prefix}{argument.children[0].value}={code.strip()}"
    return f"{prefix}{code.strip()}"


def _rebuilt(node: Any, codes: dict[Any, str]) -> Any:
    return _parsed("".join(codes.get(child) or child.get_code() for child in node.children))


def _parsed(code: str) -> Any:
    """Return something that prints as this code; it is not looked into again."""
    return parso.python.tree.Name(code, (1, 0))


ARGUMENT_FAULTS = {"SwapArguments": SwapArguments, "DropKeyword": DropKeyword}
