"""Which names a piece of Python reads before it binds them, by its syntax tree."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field

__all__ = ["Names", "parsed"]


def parsed(text: str) -> ast.Module:
    """The tree, without a warning of escapes that are none. Raises SyntaxError; ValueError where too deep."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text)
    except (RecursionError, MemoryError) as error:
        raise ValueError("too deep to be parsed") from error


@dataclass
class Names(ast.NodeVisitor):
    """Names in the order in which they are read, and which of these nothing before has bound."""

    bound: set[str] = field(default_factory=set)
    free: dict[str, None] = field(default_factory=dict)
    _later: list[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef] = field(default_factory=list)

    def read(self, statements: Iterable[ast.stmt]) -> None:
        """Statements that follow one another; bodies of functions run when all around them is bound."""
        for statement in statements:
            self.visit(statement)
        while self._later:
            scope = self._later.pop(0)
            arguments = set() if isinstance(scope, ast.ClassDef) else _arguments(scope.args)
            inside = Names(self.bound | arguments)
            inside.read(scope.body)
            self.free.update(inside.free)

    def visit_Name(self, node: ast.Name) -> None:
        if not isinstance(node.ctx, ast.Load):
            self.bound.add(node.id)
        elif node.id not in self.bound:
            self.free[node.id] = None

    def visit_Assign(self, node: ast.Assign) -> None:
        self._all([node.value, *node.targets])

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name) and node.target.id not in self.bound:
            self.free[node.target.id] = None
        self._all([node.value, node.target])

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self._all([node.annotation, node.value, node.target])

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self._all([node.value, node.target])

    def visit_For(self, node: ast.For | ast.AsyncFor) -> None:
        self._all([node.iter, node.target, *node.body, *node.orelse])

    visit_AsyncFor = visit_For

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp) -> None:
        before = set(self.bound)
        for part in node.generators:
            self._all([part.iter, part.target, *part.ifs])
        self._all([node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt])
        self.bound = before

    visit_ListComp = visit_SetComp = visit_GeneratorExp = visit_DictComp = _comprehension

    def visit_Lambda(self, node: ast.Lambda) -> None:
        self._all([*node.args.defaults, *node.args.kw_defaults])
        before = set(self.bound)
        self.bound |= _arguments(node.args)
        self.visit(node.body)
        self.bound = before

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        self._all([*node.decorator_list, *node.args.defaults, *node.args.kw_defaults])
        self._all([*(each.annotation for each in given), node.returns])
        self.bound.add(node.name)
        self._later.append(node)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._all([*node.decorator_list, *node.bases, *(each.value for each in node.keywords)])
        self.bound.add(node.name)
        self._later.append(node)

    def visit_Import(self, node: ast.Import | ast.ImportFrom) -> None:
        self.bound |= {(each.asname or each.name).partition(".")[0] for each in node.names}

    visit_ImportFrom = visit_Import

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        self._all([node.type])
        self._bind(node.name)
        self._all(node.body)

    def visit_MatchAs(self, node: ast.MatchAs) -> None:
        self.generic_visit(node)
        self._bind(node.name)

    def visit_MatchStar(self, node: ast.MatchStar) -> None:
        self._bind(node.name)

    def visit_MatchMapping(self, node: ast.MatchMapping) -> None:
        self.generic_visit(node)
        self._bind(node.rest)

    def visit_Global(self, node: ast.Global | ast.Nonlocal) -> None:
        self.bound |= set(node.names)

    visit_Nonlocal = visit_Global

    def _bind(self, name: str | None) -> None:
        if name:
            self.bound.add(name)

    def _all(self, nodes: Iterable[ast.AST | None]) -> None:
        for node in nodes:
            if node is not None:
                self.visit(node)


def _arguments(given: ast.arguments) -> set[str]:
    named = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
    return {each.arg for each in named if each is not None}
