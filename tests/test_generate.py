"""What the model's thread does around a generation, with the shipped model."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from mccomd.config import CompletionConfig, Config
from mccomd.engine import Engine, EngineOptions, Mixture, shipped_models
from mccomd.generate import Generate, Generated, goes_round, whole_part
from mccomd.postprocess import clean
from mccomd.types import CancelToken, Finish, Query


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = Engine(shipped_models()["mccomd-135m"], EngineOptions(context_tokens=1280))
    yield engine
    engine.close()


def generated(
    engine: Engine, prefix: str, suffix: str = "", max_tokens: int = 24, language: str = "python"
) -> Generated:
    query = Query("/r/a.py", "a.py", "/r", language, prefix, suffix, 0)
    return Generate(query, (), Config(), max_tokens, math.inf, CancelToken())(engine)


CLASS = "class Point:\n    def __init__(self, first, second):\n        self.first = first\n"
MAIN = 'def main():\n    return 0\n\n\nif __name__ == "__main__":'


@pytest.mark.parametrize(
    ("prefix", "text"),
    [
        (CLASS + "        self.second", " = second"),
        (CLASS + "        self.sec", "ond = second"),
        (CLASS + "        sel", "f.second = second"),
        (CLASS + "        ", "self.second = second"),
        (CLASS + "        self.second = ", "second"),
        (CLASS.replace("\n", "\r\n") + "        self.second = se", "cond"),
        (MAIN, "\n    main()"),
        (MAIN + "\n", "    main()"),
        (MAIN + "\n    ma", "in()"),
    ],
)
def test_cursors_in_words_behind_blanks_and_breaks(engine: Engine, prefix: str, text: str) -> None:
    assert generated(engine, prefix).text == text


def test_the_prompt_stays_while_a_word_is_typed(engine: Engine) -> None:
    prompts = {
        generated(engine, CLASS + "        " + "self"[:n], max_tokens=1).prompt.ids for n in range(1, 5)
    }
    assert len(prompts) == 1


def test_probabilities_are_those_of_what_is_not_typed_yet(engine: Engine) -> None:
    found = generated(engine, CLASS + "        self.second = se").generation
    assert len(found.probabilities) == len(found.ids) - found.healed
    assert found.finish is Finish.STOP


def test_early_may_have_none_of_the_rest(engine: Engine) -> None:
    query = Query("/r/a.py", "a.py", "/r", "python", CLASS + "        ", "", 0)
    asked: list[Sequence[float]] = []

    def early(probabilities: Sequence[float]) -> bool:
        asked.append(tuple(probabilities))
        return True

    found = Generate(query, (), Config(), 24, math.inf, CancelToken(), early)(engine)
    assert found.generation.finish is Finish.ABANDONED
    assert asked == [found.generation.probabilities]
    assert len(asked[0]) == 3


def test_an_answer_ends_where_it_is_hardly_right_any_more(engine: Engine) -> None:
    """What comes behind is decoded for nothing: 60 % of all tokens, of answers of which none was exact."""
    query = Query("/r/a.py", "a.py", "/r", "python", "import json\n\n\nFORTUNE = ", "", 0)
    found = {}
    for least in (0.0, 0.3, 0.9):
        config = Config(completion=CompletionConfig(least_chance=least))
        found[least] = Generate(query, (), config, 24, math.inf, CancelToken())(engine)
    whole = found[0.0].generation
    chances = np.cumprod(whole.probabilities)
    assert chances[-1] < 0.3
    for least in (0.3, 0.9):
        cut = found[least].generation
        assert cut.finish is Finish.UNSURE
        assert len(cut.probabilities) == int(np.argmax(chances < least)) + 1
        assert found[0.0].text.startswith(found[least].text)
        assert len(found[least].text) < len(found[0.0].text)


BODY = """def total(items):
    result = 0
    {}
        result += item.price
    return result
"""


@pytest.mark.parametrize("typed", ["", "f", "fo", "for"])
def test_a_line_above_a_deeper_one_begins_its_block(engine: Engine, typed: str) -> None:
    prefix, suffix = BODY.split("{}")
    assert typed + generated(engine, prefix + typed, suffix).text == "for item in items:"


def test_a_header_that_the_model_alone_does_not_write(engine: Engine) -> None:
    """Without the rule it writes the line below, which is dropped."""
    prefix = "def close(self):\n    self.flush()\n    "
    with_block = generated(engine, prefix, "\n        self.stream.close()\n        self.stream = None\n").text
    without = generated(engine, prefix, "\n    self.stream.close()\n    self.stream = None\n").text
    assert with_block.split(" ")[0] in ("if", "try:", "with", "for", "while")
    assert without.split(" ")[0] not in ("if", "try:", "with", "for", "while")


LOADER = "function load(path) {\n  const data = read(path);\n  "
INDEX = """app.get('/', function(req, res){
  res.redirect('/users');
});

app.get('/users', function(req, res){
  """


def test_above_a_block_in_brackets_the_answer_opens_it(engine: Engine) -> None:
    """The model alone ends with Python's colon."""
    found = generated(engine, LOADER, "\n    throw new Error(path);\n  }\n}\n", language="javascript").text
    assert found.startswith("if ")
    assert found.endswith(" {")
    assert ":" not in found


def test_a_whole_answer_that_opens_no_block_gives_way(engine: Engine) -> None:
    query = Query("/r/a.js", "a.js", "/r", "javascript", INDEX, "\n    title: 'Users',\n  });\n});\n", 0)
    alone = Generate(query, (), Config(), 24, math.inf, CancelToken())(engine)
    assert alone.text == "res.redirect('/users');"
    second = Generate(query, (), Config(), 24, math.inf, CancelToken(), useless=lambda text: False)(engine)
    assert second.text not in ("", alone.text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('x = "a\\', 'x = "a'),
        ('x = "a\\\\', 'x = "a\\\\'),
        ('x = "a\\n', 'x = "a'),
        ("x = some", "x = "),
        ("a\nb", "a"),
        ('a\nb = "\\', "a"),
    ],
)
def test_what_can_stand_of_a_text_that_was_cut_off(text: str, expected: str) -> None:
    assert whole_part(text) == expected


def test_the_second_choice_where_nothing_of_the_first_would_be_shown(engine: Engine) -> None:
    prefix = CLASS + "        self.second = second\n        self.third = "
    query = Query("/r/a.py", "a.py", "/r", "python", prefix, "", 0)
    asked: list[str] = []
    first = Generate(query, (), Config(), 24, math.inf, CancelToken())(engine)

    def useless(text: str) -> bool:
        asked.append(text)
        return text == first.text

    second = Generate(query, (), Config(), 24, math.inf, CancelToken(), useless=useless)(engine)
    assert asked == [first.text, second.text]
    assert second.text not in ("", first.text)
    before = engine.tokenizer.decode(second.generation.ids)
    assert before.endswith(second.text)
    assert np.prod(second.generation.probabilities) <= np.prod(first.generation.probabilities)
    assert second.generation.prefilled == first.generation.prefilled or second.generation.reused


XML = """package binding

func (xmlBinding) Name() string {
	return "xml"
}

func (xmlBinding) BindBody(body []byte, obj any) error {
	return decodeXML(bytes.NewReader(body), obj)
}

"""


def test_where_the_file_has_what_is_mixed_in_another_way_is_taken(engine: Engine) -> None:
    suffix, mixture = "\n\treturn decodeXML(req.Body, obj)\n}\n", Mixture.read(engine.manifest.mixture or {})
    query = Query("/r/a.go", "a.go", "/r", "go", XML, suffix, 0)
    asked: list[str] = []

    def useless(text: str) -> bool:
        asked.append(text)
        return bool(text.strip()) and not clean(text, prefix=XML, suffix=suffix, language="go", eol="\n").text

    ask = Generate(query, (), Config(), 24, math.inf, CancelToken(), useless=useless, mixture=mixture)
    found = ask(engine).text
    assert asked[0].startswith("func (xmlBinding) BindBody(")
    assert found.strip()
    assert not useless(found)


LOAD = "def load(path):\n    with open(path) as f:\n        data = f.read()\n"


@pytest.mark.parametrize(
    ("prefix", "suffix", "text"),
    [
        (LOAD + "    i", "\n", "f "),  # begun, and worth a key
        (LOAD + "\n\n", '\n    """Close it."""\n', ""),  # "def "
    ],
)
def test_a_word_alone_is_no_answer_unless_it_was_begun(
    engine: Engine, prefix: str, suffix: str, text: str
) -> None:
    query = Query("/r/a.py", "a.py", "/r", "python", prefix, suffix, 0)
    config = Config(completion=CompletionConfig(least_chance=0.25))
    found = Generate(query, (), config, 24, math.inf, CancelToken())(engine)
    assert found.generation.finish is Finish.UNSURE
    assert len(found.generation.ids) > found.generation.healed + 1
    assert found.text == text


def test_useless_twice_is_the_first(engine: Engine) -> None:
    query = Query("/r/a.py", "a.py", "/r", "python", CLASS + "        self.second = ", "", 0)
    first = Generate(query, (), Config(), 24, math.inf, CancelToken())(engine)
    found = Generate(query, (), Config(), 24, math.inf, CancelToken(), useless=lambda text: True)(engine)
    assert found.text == first.text
    assert found.generation.ids == first.generation.ids


@pytest.mark.parametrize(
    ("text", "round_and_round"),
    [
        ("foo(a)\nfoo(a)\nfoo(a)\n", True),
        ("foo(a)\nfoo(a)\nfoo(b)\n", False),
        ("x = [" + "0, " * 10, True),
        ("x = [" + "0, " * 6, False),
        ("1000000000000", False),
        ("# " + "-" * 70, False),
        ("very good, and " * 6, True),
        ("", False),
    ],
)
def test_loops(text: str, round_and_round: bool) -> None:
    assert goes_round(text) is round_and_round
