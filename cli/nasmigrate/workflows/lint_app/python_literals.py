"""String literals of Python files, by Python's own parser."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import accumulate

from nasmigrate.workflows.lint_app.literals import Literal


def python_literals(source: str) -> Iterator[Literal]:
    """All string literals; what an f-string fills in stands as a name of underscores.

    A file that Python cannot read has none: it does not run either.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return
    # Columns of the tree count bytes of UTF-8; what follows counts them as well, and is turned at the end.
    raw = source.encode()
    starts = [0, *accumulate(len(line) for line in raw.splitlines(keepends=True))]
    inside: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            inside.update(id(part) for part in ast.walk(node) if part is not node)
    for node in ast.walk(tree):
        if id(node) in inside or not isinstance(node, ast.JoinedStr | ast.Constant):
            continue
        text = _text(node)
        if text:
            begin = starts[node.lineno - 1] + node.col_offset
            yield Literal(pieces=tuple(_by_line(text, len(raw[:begin].decode(errors="replace")), source)))


def _text(node: ast.JoinedStr | ast.Constant) -> str:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    return "".join(
        part.value if isinstance(part, ast.Constant) and isinstance(part.value, str) else "____" for part in node.values
    )


def _by_line(text: str, start: int, source: str) -> Iterator[tuple[str, int]]:
    """The lines of a text, each at its line of the file: exact for literals written out over several lines."""
    position = start
    for line in text.splitlines(keepends=True):
        yield line, position
        following = source.find("\n", position)
        position = len(source) if following < 0 else following + 1
