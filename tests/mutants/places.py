"""Where the program keeps to one account, and the program with each of these places able to give way."""

from __future__ import annotations

import ast
import importlib.abc
import importlib.machinery
import re
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("core", "api")
# In the texts of SQL: an account named by the caller, by several of them, or by the row that is joined.
FILTER = re.compile(
    r"\b(?:\w+\.)?account_id = (?::account\b|ANY\(CAST\(:accounts AS uuid\[\]\)\)|\w+\.(?:account_id|id)\b)"
    r"|\b(?:\w+\.)?id = :account\b"
)
GUARDS = {"own", "own_ids", "kept"}


@dataclass(frozen=True)
class Place:
    number: int
    file: str
    line: int
    kind: str
    source: str
    function: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.kind}: {self.source}"


PLACES: list[Place] = []


class _Loosened(ast.NodeTransformer):
    """Has every place ask `__mutants__` whether it holds."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.function = ""

    def place(self, node: ast.AST, kind: str, source: str) -> ast.Constant:
        number = len(PLACES)
        PLACES.append(Place(number, self.file, node.lineno, kind, source, self.function))
        return ast.Constant(number)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        outer, self.function = self.function, node.name
        self.generic_visit(node)
        self.function = outer
        return node

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        self.generic_visit(node)
        left, equal = node.left, isinstance(node.ops[0], ast.Eq)
        if not (isinstance(left, ast.Attribute) and left.attr == "account_id"):
            return node
        if not equal and not isinstance(node.ops[0], ast.NotEq):
            return node
        number = self.place(node, "compared", ast.unparse(node))
        return _asked("compared", node, number, node, ast.Constant(equal))

    def visit_Call(self, node: ast.Call) -> ast.AST:
        source = ast.unparse(node)
        self.generic_visit(node)
        tenant = node.args and isinstance(node.args[0], ast.Name) and len(node.args) > 2
        if isinstance(node.func, ast.Name) and node.func.id in GUARDS and tenant:
            number = self.place(node, "owned", source)
            name = ast.Constant(node.func.id)
            node.func = _asked("guard", node, number, node.func, name)
        return node

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if not isinstance(node.value, str) or "account" not in node.value:
            return node

        def marked(found: re.Match[str]) -> str:
            number = self.place(node, "SQL", found[0])
            return f"{found[0]} /*m{number.value}*/"

        return ast.copy_location(ast.Constant(FILTER.sub(marked, node.value)), node)


def _asked(name: str, at: ast.expr, *args: ast.expr) -> ast.Call:
    asks = ast.Attribute(ast.Name("__mutants__", ast.Load()), name, ast.Load())
    return ast.fix_missing_locations(ast.copy_location(ast.Call(asks, list(args), []), at))


class _Loader(importlib.machinery.SourceFileLoader):
    def get_code(self, fullname: str) -> object:
        path = self.get_filename(fullname)
        tree = ast.parse(self.get_data(path), path)
        loosened = _Loosened(str(Path(path).relative_to(ROOT))).visit(tree)
        return compile(ast.fix_missing_locations(loosened), path, "exec", dont_inherit=True)


class Finder(importlib.abc.MetaPathFinder):
    """Imports `core` and `api` with their places loosened."""

    def find_spec(self, fullname, path=None, target=None):
        if fullname.partition(".")[0] not in PACKAGES:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


def install() -> None:
    assert not [name for name in sys.modules if name.partition(".")[0] in PACKAGES]
    sys.meta_path.insert(0, Finder())
