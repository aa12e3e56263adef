"""Definitions of a text in the languages that are parsed, by tree-sitter.

The only importer of tree_sitter and its grammars. A text that a grammar does not understand gives what could
be made out; a parse that takes too long gives none.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import tree_sitter

from .bodies import without_bodies

__all__ = ["Found", "parsed"]

MAX_BYTES = 262_144  # a parse is 0.1 s a megabyte, and up to ten times that where it makes no sense
MAX_DEPTH = 12  # of classes in namespaces in conditions


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


class Found(NamedTuple):
    name: str
    kind: str
    container: str
    start_line: int
    line: int
    end_line: int


class _Grammar(NamedTuple):
    module: str
    function: str  # of the module: gives the language
    kinds: dict[str, str]  # node -> kind
    through: frozenset[str]  # nodes that are looked into


def _kinds(**nodes: str) -> dict[str, str]:
    return {node: kind for kind, names in nodes.items() for node in names.rstrip("_").split()}


_JAVASCRIPT = _kinds(
    function="function_declaration generator_function_declaration method_definition method_signature "
    "abstract_method_signature function_signature",
    value="variable_declarator public_field_definition field_definition property_signature "
    "assignment_expression type_alias_declaration enum_assignment property_identifier",
    **{"class": "class_declaration abstract_class_declaration interface_declaration enum_declaration "
    "internal_module module"},
)  # fmt: skip
_JAVASCRIPT_THROUGH = _words("""
    export_statement lexical_declaration variable_declaration class_body interface_body
    object_type enum_body statement_block expression_statement ambient_declaration
""")
_C = _kinds(
    function="function_definition preproc_function_def",
    value="declaration field_declaration type_definition preproc_def enumerator alias_declaration",
    **{"class": "struct_specifier union_specifier enum_specifier class_specifier"},
)
_C_THROUGH = _words("""
    preproc_ifdef preproc_if preproc_else preproc_elif namespace_definition
    declaration_list template_declaration linkage_specification field_declaration_list
    enumerator_list
""")
_GRAMMARS = {
    "javascript": _Grammar("tree_sitter_javascript", "language", _JAVASCRIPT, _JAVASCRIPT_THROUGH),
    "typescript": _Grammar("tree_sitter_typescript", "language_typescript", _JAVASCRIPT, _JAVASCRIPT_THROUGH),
    "go": _Grammar(
        "tree_sitter_go",
        "language",
        _kinds(
            function="function_declaration method_declaration method_elem",
            value="const_spec var_spec field_declaration type_alias",
            **{"class": "type_spec"},
        ),
        _words("""
    type_declaration const_declaration var_declaration var_spec_list struct_type
    interface_type field_declaration_list
"""),
    ),
    "rust": _Grammar(
        "tree_sitter_rust",
        "language",
        _kinds(
            function="function_item function_signature_item macro_definition",
            value="const_item static_item type_item associated_type field_declaration enum_variant",
            **{"class": "struct_item enum_item union_item trait_item impl_item mod_item"},
        ),
        _words("""
    declaration_list field_declaration_list enum_variant_list foreign_mod_item
"""),
    ),
    "java": _Grammar(
        "tree_sitter_java",
        "language",
        _kinds(
            function="method_declaration constructor_declaration compact_constructor_declaration",
            value="variable_declarator enum_constant annotation_type_element_declaration",
            **{"class": "class_declaration interface_declaration enum_declaration record_declaration "
            "annotation_type_declaration"},
        ),
        _words("""
    class_body interface_body enum_body enum_body_declarations annotation_type_body
    field_declaration constant_declaration
"""),
    ),
    "c": _Grammar("tree_sitter_c", "language", _C, _C_THROUGH),
    "cpp": _Grammar("tree_sitter_cpp", "language", _C, _C_THROUGH),
}  # fmt: skip
_GRAMMARS["tsx"] = _GRAMMARS["typescript"]._replace(function="language_tsx")
_OTHER_SIGN = {  # language -> what shows that its files' names lie, and the grammar to take then
    "c": (re.compile(r"^[ \t]*(?:class|namespace|template|public:|private:)\b", re.M), "cpp"),
    "typescript": (re.compile(r"</\w*>|/>"), "tsx"),
}


def parsed(text: str, language: str) -> list[Found] | None:
    """The definitions of a text; None where there is no grammar for it, or it is too large to parse."""
    if language in _OTHER_SIGN and _OTHER_SIGN[language][0].search(text):
        language = _OTHER_SIGN[language][1]
    grammar = _GRAMMARS.get(language)
    if grammar is None:
        return None
    data = without_bodies(text, language).encode("utf-8", "replace")
    if len(data) > MAX_BYTES:
        return None
    tree = _parser(grammar.module, grammar.function).parse(data)
    return [] if tree is None else list(_walk(tree.root_node, "", grammar, MAX_DEPTH))


@cache
def _parser(module: str, function: str) -> Any:
    language = getattr(importlib.import_module(module), function)()
    return tree_sitter.Parser(tree_sitter.Language(language))


def _walk(node: Any, container: str, grammar: _Grammar, depth: int) -> Iterator[Found]:
    for child in node.named_children:
        kind = grammar.kinds.get(child.type)
        if kind is not None:
            yield from _named(child, kind, container, grammar, depth)
        elif child.type in grammar.through and depth:
            yield from _walk(child, container, grammar, depth - 1)


def _named(node: Any, kind: str, container: str, grammar: _Grammar, depth: int) -> Iterator[Found]:
    """A definition and its members; what has no name (`impl`, `struct {} x`) lends its type's or none."""
    name = _name_of(node)
    if node.type in ("declaration", "field_declaration", "type_definition", "type_spec"):
        inner = node.child_by_field_name("type")
        if inner is not None and inner.child_by_field_name("body") is not None:  # struct { ... } name;
            yield from _walk(node, container, grammar, depth)
    owner = container
    if node.type == "impl_item":
        name, kind = None, "class"
        owner = _last_word(node.child_by_field_name("type"))
    elif node.type == "method_declaration" and (receiver := node.child_by_field_name("receiver")):
        owner = _last_word(receiver).rstrip(")")
    if name is None:
        if kind == "class" and depth:
            yield from _walk(node, owner, grammar, depth - 1)
        return
    value = node.child_by_field_name("value") or node.child_by_field_name("right")
    if kind == "value" and value is not None and value.type in _FUNCTIONS:
        kind = "function"
    word = name.text.decode("utf-8", "replace")
    first, last = node.start_point.row + 1, node.end_point.row + 1
    yield Found(word, kind, owner, first, name.start_point.row + 1, last)
    if kind == "class" and depth:
        for part in node.named_children:
            if part.type in grammar.through or part.child_by_field_name("body") is not None:
                yield from _walk(part, word, grammar, depth - 1)


_FUNCTIONS = _words("""
    arrow_function function_expression function generator_function class
""")
_NAMES = _words("""
    identifier type_identifier field_identifier property_identifier
    private_property_identifier namespace_identifier shorthand_property_identifier
""")


def _name_of(node: Any) -> Any | None:
    """The node of a definition's name, through whatever declares it: `*name[3]`, `Type::name()`, `a.b = `."""
    for _ in range(8):
        if node.type in _NAMES:
            return node
        inner = (
            node.child_by_field_name("name")
            or node.child_by_field_name("declarator")
            or node.child_by_field_name("left")
            or node.child_by_field_name("property")
        )
        if inner is None:
            inner = next((child for child in node.named_children if child.type.endswith("declarator")), None)
        if inner is None:
            return None
        node = inner
    return None


def _last_word(node: Any | None) -> str:
    """The type's name without its arguments and pointers."""
    if node is None:
        return ""
    text: str = node.text.decode("utf-8", "replace")
    words = text.split("<")[0].replace("*", " ").replace("(", " ").split()
    return words[-1].rsplit("::")[-1] if words else ""
