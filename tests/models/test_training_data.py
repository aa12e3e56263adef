"""From repositories to batches: what is learnt from, and that it looks as the daemon's prompts do."""

from __future__ import annotations

import ast
import itertools
import random
import sysconfig
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from mccomd.engine import LineEncoder, Tokenizer, shipped_models
from mccomd.prompt import Budget, build_prompt
from mccomd.statement import StatementRule
from mccomd.types import Query, Snippet
from mccomd_models.training import sources
from mccomd_models.training.batches import Batch, Batches, Place, pack
from mccomd_models.training.duplicates import NearDuplicates
from mccomd_models.training.holes import Hole, find_statements, pick_hole, span_hole
from mccomd_models.training.prepare import prepare
from mccomd_models.training.quality import fault
from mccomd_models.training.recipe import Shape
from mccomd_models.training.retrieval import Retrieval
from mccomd_models.training.samples import CONVENTION, END, Maker
from mccomd_models.training.shards import SHARD_TOKENS, Branch, Data, Sample, read_shards, write_shards
from mccomd_models.training.sources import Entry, Source, corpus, excluded, fingerprint
from tests.conftest import commit_all, git

LIBRARY = Path(sysconfig.get_paths()["stdlib"])
MODULES = ("textwrap.py", "heapq.py", "json/decoder.py", "shutil.py", "argparse.py", "dataclasses.py")


def shipped() -> Path:
    return next(iter(shipped_models().values()))


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer(shipped(), CONVENTION.token_names(), 1 << 16)


@pytest.fixture(scope="module")
def encoder(tokenizer: Tokenizer) -> LineEncoder:
    return LineEncoder(tokenizer)


def library() -> list[Source]:
    return [Source("python/cpython", name, (LIBRARY / name).read_text()) for name in MODULES]


def statements_of(text: str) -> list[str]:
    found = find_statements(text, ast.parse(text), random.Random(0))
    return [text[s.start : s.end] for s in found]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("value = compute(1)\n", ["value = compute(1)"]),
        ("def area(self):\n    return self.width\n", ["def area(self):", "return self.width"]),
        ("for item in things:\n    pass\n", ["for item in things:"]),
        ("@wrap\ndef area(\n    self,\n):\n    '''Text.'''\n", ["def area(\n    self,\n):"]),
        ("class Shape(Base):\n    @wrap\n    def go(self): pass\n", ["class Shape(Base):"]),
        ("é = find('é', value)\nvalue = 'ü' + take(é)\n", ["é = find('é', value)", "value = 'ü' + take(é)"]),
        ("if ready:  # now\n    go_on(ready)\n", ["go_on(ready)"]),  # a comment stands in the way
        ("x = 1\n", []),  # too short to be worth a completion
        ("first = 1; second = 2\n", []),  # two on a line
        ("value = '''\n# not a comment\n'''\n", []),
        ("value = 'a long text that nobody can foresee'\n", []),
    ],
)
def test_statements(text: str, expected: list[str]) -> None:
    assert statements_of(text) == expected


def holes_of(text: str, rounds: int = 40) -> list[Hole]:
    rng = random.Random(3)
    statements = find_statements(text, ast.parse(text), rng)
    holes = (pick_hole(text, s, rng) for s in statements for _ in range(rounds))
    return [hole for hole in holes if hole is not None]


def test_cursors_are_where_people_stop() -> None:
    text = "result = compute_area(width, height)\n"
    found = {(h.kind, text[: h.start]) for h in holes_of(text, rounds=400)}
    assert ("start", "") in found
    block = "if ready:\n    " + text
    below = {(h.kind, block[: h.start]) for h in holes_of(block, 400)}
    assert {("start", "if ready:" + end) for end in ("", "\n", "\n    ")} <= below
    assert ("token", "result = ") in found
    assert ("token", "result = compute_area(") in found
    assert ("inside", "result = comp") in found
    assert all(text[h.start : h.end] and h.end == len(text) - 1 for h in holes_of(text))


@pytest.mark.parametrize("name", MODULES)
def test_middles_end_where_the_daemon_stops(name: str) -> None:
    """A model that learnt to write on, or to stop early, would be cut or lack its end."""
    text = (LIBRARY / name).read_text()
    holes = [h for h in holes_of(text, rounds=2) if text[h.start : h.end].strip()]
    holes = random.Random(1).sample(holes, min(len(holes), 60))
    agree = 0
    for hole in holes:
        rule = StatementRule(text[: hole.start], text[hole.end :], "python", False)
        agree += rule.end_of(text[hole.start : hole.end] + "\n") == hole.end - hole.start
    assert agree >= 0.96 * len(holes) > 20, f"{agree} of {len(holes)}"


def test_shares_of_cursors() -> None:
    counts = Counter(hole.kind for source in library() for hole in holes_of(source.text, rounds=3))
    total = counts.total()
    assert 0.34 < counts["start"] / total < 0.55
    assert 0.3 < counts["token"] / total < 0.46
    assert 0.12 < counts["inside"] / total < 0.26


def test_spans_are_any_characters() -> None:
    text = (LIBRARY / "heapq.py").read_text()
    rng = random.Random(1)
    spans = [hole for _ in range(200) if (hole := span_hole(text, rng)) is not None]
    assert len(spans) > 100
    assert len({text[hole.end : hole.end + 1].isalnum() for hole in spans}) == 2


def test_a_sample_is_the_daemons_prompt_and_the_rest_of_the_statement(
    encoder: LineEncoder, tokenizer: Tokenizer
) -> None:
    """Healing included: the prompt ends before the word at the cursor, which the middle begins with."""
    text = "import math\n\ndef area(radius):\n    return math.pi * radius\n\nprint(area(2))\n"
    start = text.index("radius\n")  # "math.pi * ra|dius"
    hole = Hole(start + 2, start + 6, "inside")
    shape = Shape(with_snippets=0, without_suffix=0)
    sample = Maker(encoder, shape).of_holes(
        Source("a/b", "src/circle.py", text), [hole], None, random.Random(0)
    )
    assert sample is not None
    prefix, suffix = text[: hole.start], text[hole.end :]
    query = Query("/x/src/circle.py", "src/circle.py", "/x", "python", prefix, suffix, 4)
    prompt = build_prompt(query, [], CONVENTION, encoder, Budget(900, 0))
    assert tuple(sample.ids[: sample.middle]) == prompt.ids
    assert prompt.healed == " ra"
    ids = [int(i) for i in sample.ids[sample.middle :]]
    assert tokenizer.decode(ids) == " radius"
    assert ids[-1] == tokenizer.token_id(END)


def test_samples_of_a_library_spell_out_its_text(encoder: LineEncoder, tokenizer: Tokenizer) -> None:
    """Prefix and middle stand in the file next to each other, whatever was cut at the far ends."""
    maker, rng = Maker(encoder, Shape(with_snippets=0)), random.Random(5)
    prefix_marker, middle_marker = (
        tokenizer.token_id(str(n)) for n in (CONVENTION.prefix_token, CONVENTION.middle_token)
    )
    count = 0
    for source in library():
        for sample in maker.of_file(source, None, rng):
            ids = [int(i) for i in sample.ids]
            assert ids[sample.middle - 1] == middle_marker
            before = tokenizer.decode(ids[ids.index(prefix_marker) + 1 : sample.middle - 1])
            header, _, prefix = before.partition("\n")
            middle = tokenizer.decode(ids[sample.middle :])
            assert header == source.path
            assert prefix + middle in source.text
            count += 1
    assert count > 40


def test_holes_that_share_a_context_have_the_daemons_prompts(
    encoder: LineEncoder, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    """Each one alone, whatever of it is stored once; what was written between them is not in the suffix."""
    text = "def area(radius):\n    half = radius / 2\n    return math.pi * radius\n\nprint(area(2))\n"
    ends = [text.index("\n", text.index("half")), text.index("\n", text.index("return"))]
    starts = [text.index("half") - 5, text.index("radius / 2") + 2, text.index("math.pi"), text.index("pi *")]
    holes = [Hole(start, ends[start > ends[0]], "token") for start in starts]
    shape = Shape(with_snippets=0, without_suffix=0)
    sample = Maker(encoder, shape).of_holes(Source("a/b", "c.py", text), holes, None, random.Random(0))
    assert sample is not None
    write_shards(tmp_path, [sample], {})
    data = read_shards(tmp_path)
    lengths = data.middle_lengths(0)
    assert sample.middle_tokens == sum(lengths)
    for number, hole in enumerate(holes):
        query = Query("/x/c.py", "c.py", "/x", "python", text[: hole.start], text[ends[1] :], 4)
        prompt = build_prompt(query, [], CONVENTION, encoder, Budget(900, 0))
        ids, middle = data.alone(0, number)
        assert tuple(ids[:middle]) == prompt.ids
        written = tokenizer.decode([int(i) for i in ids[middle:]])
        assert written == prompt.healed + text[hole.start : hole.end]
        assert len(ids) - middle == lengths[number]
    assert len(sample.ids) < 0.6 * sum(len(data.alone(0, number)[0]) for number in range(4))


def test_holes_of_a_library_share_their_contexts(
    encoder: LineEncoder, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    maker, rng = Maker(encoder, Shape(with_snippets=0, holes=4)), random.Random(5)
    made = [(source, sample) for source in library() for sample in maker.of_file(source, None, rng)]
    write_shards(tmp_path, [sample for _, sample in made], {})
    data = read_shards(tmp_path)
    counts = [len(data.holes(i)) for i in range(len(data))]
    assert 2 < np.mean(counts) < 4 == max(counts)
    marker = tokenizer.token_id(str(CONVENTION.prefix_token))
    for index, (source, _) in enumerate(made):
        for hole in range(counts[index]):
            whole, middle = data.alone(index, hole)
            ids = [int(i) for i in whole]
            before = tokenizer.decode(ids[ids.index(marker) + 1 : middle - 1]).partition("\n")[2]
            assert before + tokenizer.decode(ids[middle:]) in source.text


def test_snippets_are_those_of_the_daemon(tmp_path: Path, encoder: LineEncoder, tokenizer: Tokenizer) -> None:
    """The real index and retrievers; what a file imports is found, nothing of the file itself is."""
    used = "class Gauge:\n    def set_level(self, level: float, label: str) -> None:\n        pass\n"
    user = "from gauges import Gauge\n\n\ndef fill(gauge: Gauge) -> None:\n    gauge.set_level(3.0, 'full')\n"
    clone = tmp_path / "o+r"
    commit = make_repository(clone, {"gauges.py": used, "user.py": user, "other.py": "x = 1\n" * 9})
    source = Source("o/r", "user.py", user)
    at = user.index("set_level")
    hole = Hole(at, len(user) - 1, "token")
    shape = Shape(with_snippets=1, snippet=(200, 200))
    with Retrieval(clone, commit) as retrieval:
        sample = Maker(encoder, shape).of_holes(source, [hole], retrieval, random.Random(2))
    assert sample is not None
    prompt = tokenizer.decode([int(i) for i in sample.ids[: sample.middle]])
    assert prompt.index("gauges.py") < prompt.index("set_level") < prompt.index("user.py")
    assert prompt.count("user.py") == 1
    assert "'full'" not in prompt


def test_holes_are_the_same_with_and_without_snippets(encoder: LineEncoder) -> None:
    class Nothing:
        def search(self, query: Query) -> list[Snippet]:
            return []

    for source in library():
        makers = [Maker(encoder, Shape(with_snippets=share)) for share in (0.0, 1.0)]
        made = [list(maker.of_file(source, Nothing(), random.Random(3))) for maker in makers]
        assert [one.ids.tolist() for one in made[0]] == [one.ids.tolist() for one in made[1]]


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("a/b.py", "value = compute(other)\n" * 3 + "x = 'words in a line'\n" * 20, None),
        ("pip/_vendor/rich/a.py", "value = compute(other)\n" * 30, "vendored"),
        ("a/b_pb2.py", "value = compute(other)\n" * 30, "vendored"),
        ("a.py", "pass\n", "too short"),
        ("a.py", "# Code generated by a tool. DO NOT EDIT.\n" + "value = compute(other)\n" * 30, "generated"),
        ("a.py", "value = compute(other)\n" * 60, "repeats"),
        ("a.py", "x = [" + "1234, " * 50 + "]\n" + "y = [" + "98765, " * 50 + "]\n", "numbers"),
        ("a.py", "value = '" + "x" * 500 + "'\n", "long lines"),
        ("a.py", "# " + "очень длинный комментарий о коде\n# " * 20 + "\n", "another script"),
    ],
)
def test_quality(path: str, text: str, expected: str | None) -> None:
    found = fault(path, text)
    assert found is None if expected is None else expected in str(found)


def test_near_duplicates() -> None:
    files = [source.text for source in library()]
    known = NearDuplicates()
    assert all(known.add(text) for text in files)
    assert not any(known.add(text) for text in files)
    changed = files[4].replace("usage", "manual")  # argparse with a word changed throughout
    shifted = "# A licence at the top.\n\n" + files[3]
    assert not known.add(changed)
    assert not known.add(shifted)
    half = files[4][: len(files[4]) // 3]
    assert known.add(half), "a third of a file is another file"
    assert known.add("")


def test_the_projects_own_list_keeps_its_rules() -> None:
    entries = corpus()
    assert len(entries) > 30
    assert {entry.name.lower() for entry in entries}.isdisjoint(name.lower() for name in excluded())
    assert {True, False} == {entry.held_out for entry in entries}


@pytest.mark.parametrize(
    ("name", "commit", "licence", "message"),
    [
        ("Textualize/Rich", "0" * 40, "MIT", "evaluation takes its cases from it"),
        ("a/b", "0" * 40, "GPL-3.0", "'GPL-3.0' is none of"),
        ("a/b", "main", "MIT", "'main' is no commit id"),
    ],
)
def test_lists_that_are_refused(tmp_path: Path, name: str, commit: str, licence: str, message: str) -> None:
    path = tmp_path / "corpus.toml"
    path.write_text(f'[[repository]]\nname = "{name}"\ncommit = "{commit}"\nlicence = "{licence}"\n')
    with pytest.raises(ValueError, match=message):
        corpus(path)


def make_repository(folder: Path, files: dict[str, str]) -> str:
    folder.mkdir(parents=True)
    git(folder, "init", "-q")
    for name, text in files.items():
        (folder / name).write_text(text)
    return commit_all(folder)


def test_files_of_excluded_repositories_never_enter(tmp_path: Path) -> None:
    """Even where another repository holds a copy with other white space; near-duplicates enter once."""
    argparse, shutil, textwrap = (
        (LIBRARY / n).read_text() for n in ("argparse.py", "shutil.py", "textwrap.py")
    )
    assert "simonw/llm" in excluded()
    make_repository(tmp_path / "simonw+llm" / "repo", {"tools.py": shutil})
    commit = make_repository(
        tmp_path / "a+b",
        {
            "copied.py": shutil.replace("    ", "\t"),
            "one.py": argparse,
            "two.py": argparse.replace("usage", "manual"),
            "text.py": textwrap,
        },
    )
    entries = [Entry("a/b", commit, "MIT"), Entry("not/here", "0" * 40, "MIT")]
    shape = Shape(per_file=4)
    report = prepare(entries, tmp_path, tmp_path / "data", shipped(), shape, seed=1, say=lambda _: None)
    assert report.files == 2
    assert report.left_out == {"stands in an excluded repository": 1, "near-duplicate": 1}
    assert report.missing == ["not/here"]
    assert report.barred == ["simonw/llm"]
    data = read_shards(tmp_path / "data")
    assert len(data) == report.samples > 4
    assert int(data.starts[-1]) == report.tokens
    prepare(entries, tmp_path, tmp_path / "data", shipped(), shape, seed=1, workers=2, say=lambda _: None)
    again = read_shards(tmp_path / "data")
    assert np.array_equal(data.ids, again.ids), "the same seed gives the same samples"


def test_fingerprints_see_no_white_space() -> None:
    assert fingerprint("a = 1\n") == fingerprint("a  =\t1")
    assert fingerprint("a = 1\n") != fingerprint("a = 2\n")


def random_data(
    folder: Path, count: int, longest: int, seed: int = 0, shard_tokens: int = SHARD_TOKENS
) -> Data:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(8, longest + 1, count)
    samples = [Sample(rng.integers(3, 288, n).astype(np.uint16), int(n) - 4, "token") for n in lengths]
    write_shards(folder, samples, {"seed": seed}, shard_tokens)
    return read_shards(folder)


def branched_data(folder: Path, count: int, seed: int = 0) -> Data:
    """Samples with one to three holes each, behind 6 to 20 ids."""
    rng = np.random.default_rng(seed)
    samples = []
    for _ in range(count):
        at = trunk = int(rng.integers(6, 21))
        branches = []
        for _ in range(rng.integers(1, 4)):
            prompt, middle = (int(n) for n in rng.integers(1, 6, 2))
            branches.append(Branch(int(rng.integers(3, trunk + 1)), at, at + prompt))
            at += prompt + middle
        ids = rng.integers(3, 288, at).astype(np.uint16)
        samples.append(Sample(ids, branches[0].middle, "token", tuple(branches)))
    write_shards(folder, samples, {"seed": seed})
    return read_shards(folder)


def test_shards_come_back_and_stay_small(tmp_path: Path) -> None:
    whole = random_data(tmp_path, 50, 60, shard_tokens=500)
    paths = sorted(tmp_path.glob("*.npz"))
    assert len(paths) > 2
    with np.load(paths[0]) as file:
        assert file["ids"].size <= 500
    assert len(whole) == 50
    assert whole.lengths().sum() == whole.ids.size
    write_shards(tmp_path / "other", [Sample(np.arange(9, dtype=np.uint16), 5, "span")], {"seed": 1})
    (tmp_path / "other" / "shard-000.npz").rename(tmp_path / "shard-999.npz")
    with pytest.raises(ValueError, match="made differently"):
        read_shards(tmp_path)
    with pytest.raises(ValueError, match="no shard"):
        read_shards(tmp_path / "empty")


def rows_of(batch: Batch) -> list[tuple[int, ...]]:
    """The documents of a batch, each with the ids that it is made of."""
    found = []
    for r in range(len(batch.ids)):
        documents = batch.documents[r] if batch.documents is not None else np.zeros(len(batch.ids[r]), int)
        for number in sorted(set(documents.tolist()) - {-1}):
            inside = documents == number
            if batch.documents is None:  # padded: up to the last wanted target and its own token
                inside[int(np.flatnonzero(batch.middle[r]).max()) + 2 :] = False
            assert batch.positions[r][inside].tolist() == list(range(int(inside.sum())))
            found.append(tuple(int(i) for i in batch.ids[r][inside]))
    return found


@pytest.mark.parametrize("layout", ["padded", "packed"])
def test_an_epoch_has_every_sample_once(tmp_path: Path, layout: str) -> None:
    data = random_data(tmp_path, 300, 60)
    batches = Batches(data, 256, layout, 64, seed=4)  # type: ignore[arg-type]
    seen: list[tuple[int, ...]] = []
    tokens = 0
    for batch, place in batches.follow(Place()):
        if place.epoch or (seen and len(seen) >= 300):
            break
        assert batch.ids.size <= 256
        assert (batch.middle.sum(axis=1) > 0).all()
        learnt = batch.ids[:, 1:][(batch.middle | batch.rest)[:, :-1]]
        assert (learnt == batch.targets[:, :-1][(batch.middle | batch.rest)[:, :-1]]).all()
        seen += rows_of(batch)
        tokens += batch.tokens
    assert sorted(seen) == sorted(tuple(data.sample(i).tolist()) for i in range(300))
    assert tokens == data.ids.size


@pytest.mark.parametrize("layout", ["padded", "packed"])
def test_any_place_can_be_taken_up(tmp_path: Path, layout: str) -> None:
    """Into the third epoch: what follows a place does not depend on how one came there."""
    data = random_data(tmp_path, 60, 60)
    batches = Batches(data, 128, layout, 64, seed=4)  # type: ignore[arg-type]
    steps = list(itertools.islice(batches.follow(Place()), 90))
    assert steps[-1][1].epoch >= 2
    for at in (0, 7, 29, 61):
        following = next(batches.follow(steps[at][1]))
        assert following[1] == steps[at + 1][1]
        assert np.array_equal(following[0].ids, steps[at + 1][0].ids)
    assert not np.array_equal(steps[0][0].ids, steps[len(steps) // 2][0].ids)


def test_rows_are_filled(tmp_path: Path) -> None:
    lengths = np.array([60, 30, 30, 20, 20, 20, 4], np.int64)
    rows = pack(list(range(7)), lengths, 64)
    assert [sum(int(lengths[s]) for s in row) for row in rows] == [64, 60, 60]


def test_samples_too_long_for_a_batch(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="too long for a batch"):
        Batches(random_data(tmp_path, 5, 60), 32, "padded", 64, seed=0)


def test_clones_are_found_however_they_are_laid(tmp_path: Path) -> None:
    for place in ("a+b/repo", "c+d", "e+f.git", "g/h"):
        (tmp_path / place).mkdir(parents=True)
    found = [sources.find_clone(tmp_path, name) for name in ("a/b", "c/d", "e/f", "g/h", "i/j")]
    assert found == [*(tmp_path / place for place in ("a+b/repo", "c+d", "e+f.git", "g/h")), None]
