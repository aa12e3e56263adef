from __future__ import annotations

import random

import pytest

from mccomd_index import definitions
from mccomd_index.bodies import without_bodies

LONG = "x = compute(x, 7);  // as long as a body that is worth leaving out\n" * 3


def body(margin: str, text: str = LONG) -> str:
    return "".join(f"{margin}{line}\n" for line in text.splitlines())


TEXTS = {
    "c": "#include <a.h>\n\nstruct pair {\n    int first;\n};\n\nstatic int push(struct pair *at)\n{\n"
    + body("    ")
    + "}\n\nint pull(void) {\n"
    + body("\t")
    + "}\n\nint table[] = {\n    1,\n};\n",
    "cpp": "namespace a {\nclass Cache {\n public:\n  int get(int key) const { return 1; }\n};\n\n"
    "int Cache::size() const {\n" + body("  ") + "}\n}\n",
    "go": "package a\n\ntype Cache struct {\n\tsize int\n}\n\nfunc (c *Cache) Get(\n"
    "\tkey string,\n) (int, error) {\n" + body("\t") + "}\n\nfunc main() {\n" + body("\t") + "}\n",
    "java": "class Cache extends Base {\n    int size = 3;\n\n    @Override\n"
    "    public int get(String key) throws E {\n"
    + body("        ")
    + "    }\n\n    Cache() {\n"
    + body("        ")
    + "    }\n}\n",
    "rust": "pub struct Cache {\n    size: u8,\n}\n\nimpl Cache {\n    pub fn get(&self) -> u8 {\n"
    + body("        ")
    + "    }\n}\n\nfn main() {\n"
    + body("    ")
    + "}\n",
}
NAMES = {
    "c": ["pair", "first", "push", "pull", "table"],
    "cpp": ["Cache", "get", "size"],
    "go": ["Cache", "size", "Get", "main"],
    "java": ["Cache", "size", "get", "Cache"],
    "rust": ["Cache", "size", "get", "main"],
}


@pytest.mark.parametrize("language", TEXTS)
def test_bodies_are_left_out_and_every_definition_keeps_its_lines(language: str) -> None:
    text = TEXTS[language]
    short = without_bodies(text, language)
    assert "compute" in text
    assert "compute" not in short
    found = definitions(text, language)
    assert [one.name for one in found] == NAMES[language]
    lines, shortened = text.split("\n"), short.split("\n")
    assert len(lines) == len(shortened)
    for one in found:
        assert one.name in lines[one.line - 1]
        assert shortened[one.line - 1] == lines[one.line - 1]
        if "{" in lines[one.line - 1] and one.kind == "function" and one.end_line > one.line:
            assert lines[one.end_line - 1].strip() == "}"


def check_is_kept(text: str, language: str) -> None:
    assert without_bodies(text, language) == text


def test_what_indentation_does_not_show_stays() -> None:
    check_is_kept("int f(void) {\n" + body("    ") + " }\n\nint g(void) {\n" + body("    ") + "    }\n", "c")
    check_is_kept('int f(void) {\n    print("{");\n' + body("    ") + "}\n", "c")
    check_is_kept("func f() {\n\ttext := `\n" + body("\t") + "}\n`\n\tuse(text)\n}\n", "go")
    check_is_kept("struct wide {\n" + body("    ", "int member_with_a_long_name;\n" * 9) + "};\n", "c")
    check_is_kept("def f():\n" + body("    "), "python")
    check_is_kept("function f() {\n" + body("  ") + "}\n", "javascript")
    check_is_kept("int f(void) {\n" + body("    "), "c")


def test_a_long_file_is_read_for_what_stands_outside_its_bodies() -> None:
    text = "".join(f"int f{n}(void)\n{{\n{body('    ', LONG * 10)}}}\n\n" for n in range(200))
    assert len(text) > 400_000
    assert [one.name for one in definitions(text, "c")] == [f"f{n}" for n in range(200)]


@pytest.mark.parametrize("language", TEXTS)
def test_broken_code_keeps_its_lines(language: str) -> None:
    chance = random.Random(3)
    for _ in range(300):
        text = TEXTS[language]
        for _ in range(chance.randrange(1, 5)):
            place = chance.randrange(len(text))
            text = text[:place] + chance.choice(["", "{", "}", "\n}", '"', "`", "\n"]) + text[place + 1 :]
        short = without_bodies(text, language)
        assert short.count("\n") == text.count("\n")
        definitions(text, language)
