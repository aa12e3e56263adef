"""The network, a run and its release, with random models: mechanics, and one whole run in miniature."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mccomd.engine import Engine, EngineOptions, Limits, load_manifest
from mccomd.types import CancelToken
from mccomd_models.architecture import Weights, average, random_weights
from mccomd_models.folder_source import read_model_folder
from mccomd_models.quantise import dequantise, quantise
from mccomd_models.reference import forward
from mccomd_models.training.batches import make_batch
from mccomd_models.training.checkpoint import load_checkpoint, save_checkpoint
from mccomd_models.training.commands import main
from mccomd_models.training.curve import read_log
from mccomd_models.training.learn import choose_weights, losses, round_weights, to_rows
from mccomd_models.training.loop import LOG, Run, held_out_loss
from mccomd_models.training.network import After, Layer, Matrix, Network, Rows, load_weights, read_weights
from mccomd_models.training.parts import read_parts, write_parts
from mccomd_models.training.recipe import CHECKPOINT, Layout, Plan, Recipe, learning_rate
from mccomd_models.training.release import require_parity
from mccomd_models.training.rounding import rounded
from mccomd_models.training.shards import Data
from tests.engine.tiny import CONFIG
from tests.models.test_training_data import branched_data, random_data

ROOT = Path(__file__).resolve().parents[2]
RECIPE = Recipe(tokens=3_000, peak=1e-2, warmup_tokens=500, rest_weight=0.3)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Products as exact as the reference's."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())


def network_of(weights: Weights) -> Network:
    network = Network(CONFIG)
    load_weights(network, weights)
    return network


def same(one: Weights, other: Weights) -> bool:
    pairs = [(one.embedding, other.embedding), (one.final_norm, other.final_norm)]
    for a, b in zip(one.layers, other.layers, strict=True):
        pairs += [(getattr(a, name), getattr(b, name)) for name in a.__slots__]
    return all(np.array_equal(a, b) for a, b in pairs)


def test_the_network_computes_what_the_reference_does() -> None:
    weights = random_weights(CONFIG, 3)
    ids = np.random.default_rng(5).integers(2, 258, (2, 70))
    rows = Rows(torch.from_numpy(ids), torch.arange(70).expand(2, 70))
    with torch.no_grad():
        found = network_of(weights)(rows).numpy()
    for row in range(2):
        np.testing.assert_allclose(found[row], forward(CONFIG, weights, ids[row].tolist()), atol=2e-4)


def test_weights_come_back_as_they_went_in() -> None:
    weights = random_weights(CONFIG, 3)
    assert same(read_weights(network_of(weights)), weights)
    assert not same(random_weights(CONFIG, 4), weights)


@pytest.mark.parametrize("bits", [4, 8])
def test_weights_are_seen_as_they_will_be_stored(bits: int) -> None:
    """And learn as if they were not rounded."""
    weight = torch.randn(6, 64, generator=torch.Generator().manual_seed(2))
    weight[0, :32], weight[1, 3] = 0, -9.0
    weight.requires_grad_()
    seen = rounded(weight, bits, 32)
    stored = dequantise(quantise(weight.detach().numpy(), 32, bits))
    np.testing.assert_allclose(seen.detach().numpy(), stored, rtol=1e-5, atol=1e-7)
    slope = torch.randn(6, 64)
    (seen * slope).sum().backward()
    assert torch.equal(weight.grad, slope)  # type: ignore[arg-type]


def test_a_run_in_four_bits_learns_what_it_will_be_stored_as(tmp_path: Path) -> None:
    """Its loss with weights in 4 bits ends below that of a run that knows nothing of them."""
    data = random_data(tmp_path / "data", 12, 24)
    found = {}
    for bits in (0, 4):
        run = begin(tmp_path / str(bits), replace(RECIPE, bits=bits, tokens=12_000))
        run.go(data, None, quiet)
        round_weights(run.network, 4, 32)
        found[bits] = held_out_loss(run.network, data, run.plan)["nats"]
    assert found[4] < found[0]


def test_what_the_network_lacks_is_refused_and_not_dropped() -> None:
    weights = random_weights(CONFIG, 3)
    rows = sum(len(matrix) for matrix in (weights.layers[0].q, weights.layers[0].k, weights.layers[0].v))
    biased = replace(weights.layers[0], qkv_bias=np.ones(rows, np.float32))
    with pytest.raises(ValueError, match="cannot be trained"):
        network_of(replace(weights, layers=(biased, *weights.layers[1:])))
    with pytest.raises(ValueError, match="cannot be trained"):
        network_of(replace(weights, head=weights.embedding))


def test_packed_documents_do_not_see_each_other(tmp_path: Path) -> None:
    """Every logit of a sample in a row with others is that of the sample alone."""
    data = random_data(tmp_path, 9, 60)
    network = network_of(random_weights(CONFIG, 3))
    rows = [[0, 1, 2], [3, 4], [5, 6, 7, 8]]
    packed = make_batch(data, rows, "packed", 240)
    with torch.no_grad():
        together, blind = (
            network(to_rows(batch, torch.device("cpu"))).numpy()
            for batch in (packed, replace(packed, documents=np.zeros_like(packed.positions)))
        )
    for r, row in enumerate(rows):
        at = 0
        for number, sample in enumerate(row):
            ids = data.sample(sample).astype(np.int64)
            expected = forward(CONFIG, random_weights(CONFIG, 3), ids.tolist())
            np.testing.assert_allclose(together[r, at : at + len(ids)], expected, atol=2e-4)
            if number:
                assert np.abs(blind[r, at : at + len(ids)] - expected).max() > 0.1, "the mask does it"
            at += len(ids)


@pytest.mark.usefixtures("in_float32")
@pytest.mark.parametrize("gradient_tokens", [0, 3])
@pytest.mark.parametrize("rows", [[[0, 1, 2], [3, 4], [5], [6]], [[i] for i in range(7)]])
def test_holes_see_their_own_prompt_and_nothing_else(
    tmp_path: Path, rows: list[list[int]], gradient_tokens: int
) -> None:
    """The losses of middles that share contexts are those of each hole alone, in packed and padded rows."""
    data, weights = branched_data(tmp_path, 7), random_weights(CONFIG, 3)
    total, right = 0.0, []
    for s in itertools.chain(*rows):
        for hole in range(len(data.holes(s))):
            ids, middle = data.alone(s, hole)
            logits = forward(CONFIG, weights, ids.astype(int).tolist()).astype(np.float64)[middle - 1 : -1]
            wanted = ids[middle:].astype(int)
            total += float(
                (np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(wanted)), wanted]).sum()
            )
            right += (logits.argmax(axis=1) == wanted).tolist()
    layout: Layout = "packed" if len(rows) < 7 else "padded"
    network = network_of(weights)
    batch = make_batch(data, rows, layout, 160, gradient_tokens)
    with torch.no_grad():
        found = losses(network, network.body, batch, 1.0, torch.Generator())
    assert found.middle_tokens == sum(sum(data.middle_lengths(s)) for s in range(7)) == len(right)
    np.testing.assert_allclose(float(found.middle), total, rtol=1e-4)


def gradient_of(network: Network, run: Callable[[], torch.Tensor]) -> torch.Tensor:
    network.zero_grad()
    run().backward()
    return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])


@pytest.mark.usefixtures("in_float32")
@pytest.mark.parametrize("rows", [[[0, 1, 2], [3, 4], [5], [6]], [[i] for i in range(7)]])
def test_the_gradient_stops_at_the_context(tmp_path: Path, rows: list[list[int]]) -> None:
    """Against each hole alone, its context read before; where it may flow everywhere, it is all of it."""
    data, network = branched_data(tmp_path, 7), network_of(random_weights(CONFIG, 3))

    def together(tokens: int) -> torch.Tensor:
        batch = make_batch(data, rows, "packed" if len(rows) < 7 else "padded", 160, tokens)
        return losses(network, network.body, batch, 0.0, torch.Generator()).middle

    def alone() -> torch.Tensor:
        total = torch.zeros(())
        for s in range(7):
            cut = max(0, min(hole.seen for hole in data.holes(s)) - 2)
            for hole in range(len(data.holes(s))):
                ids, middle = data.alone(s, hole)
                row, memory = torch.from_numpy(ids.astype(np.int64))[None], []  # type: ignore[var-annotated]
                places = torch.arange(len(ids))[None]
                with torch.no_grad():
                    network.body(row[:, :cut], places[:, :cut], None, None, memory)
                mask = torch.ones(len(ids), len(ids), dtype=torch.bool).tril()[None, None, cut:]
                after = After(memory, torch.arange(len(ids) - cut))
                hidden = network.body(row[:, cut:], places[:, cut:], mask, after)
                logits = network.head(hidden[0, middle - 1 - cut : -1])
                total = total + torch.nn.functional.cross_entropy(logits, row[0, middle:], reduction="sum")
        return total

    def likeness(one: torch.Tensor, other: torch.Tensor) -> float:
        return float((one - other).norm() / other.norm())

    whole, stopped = gradient_of(network, lambda: together(0)), gradient_of(network, lambda: together(2))
    assert likeness(gradient_of(network, lambda: together(1000)), whole) < 1e-3
    assert likeness(stopped, gradient_of(network, alone)) < 1e-3
    assert likeness(stopped, whole) > 0.1


def test_weights_rounded_once_a_step_learn_as_those_rounded_each_time(tmp_path: Path) -> None:
    data, network = random_data(tmp_path, 6, 60), network_of(random_weights(CONFIG, 3))
    round_weights(network, 4, 32)
    batch = make_batch(data, [[i] for i in range(6)], "padded", 0)
    matrices = [matrix for matrix in network.modules() if isinstance(matrix, Matrix)]

    def found(held: bool) -> torch.Tensor:
        network.zero_grad()
        for matrix in matrices if held else ():
            matrix.hold()
        losses(network, network.body, batch, 0.0, torch.Generator()).middle.backward()
        for matrix in matrices:
            matrix.let_go()
        return torch.cat([m.weight.grad.flatten() for m in matrices if m.weight.grad is not None])

    each, once = found(held=False), found(held=True)
    assert float(each.norm()) > 0
    assert torch.equal(each, once)


def test_losses_are_sums_over_the_tokens_marked(tmp_path: Path) -> None:
    """Against the reference, to what bfloat16 leaves; packed and padded alike."""
    data = random_data(tmp_path, 6, 60)
    weights = random_weights(CONFIG, 3)
    middle, rest = 0.0, 0.0
    for i in range(6):
        ids, begins = data.sample(i).astype(np.int64), int(data.middles[i])
        logits = forward(CONFIG, weights, ids.tolist()).astype(np.float64)
        nats = np.log(np.exp(logits[:-1]).sum(axis=1)) - logits[np.arange(len(ids) - 1), ids[1:]]
        middle, rest = middle + nats[begins - 1 :].sum(), rest + nats[: begins - 1].sum()
    network = network_of(weights)
    for batch in (
        make_batch(data, [[0, 1, 2], [3, 4, 5]], "packed", 240),
        make_batch(data, [[i] for i in range(6)], "padded", 0),
    ):
        with torch.no_grad():
            found = losses(network, network.body, batch, 1.0, torch.Generator())
        assert found.middle_tokens == 6 * 4
        assert found.rest_tokens == data.ids.size - 6 * 5
        np.testing.assert_allclose(float(found.middle), middle, rtol=5e-3)
        np.testing.assert_allclose(float(found.rest), rest, rtol=5e-3)


def test_low_rank_parts_merge_into_the_matrices() -> None:
    weights = random_weights(CONFIG, 3)
    network = network_of(weights)
    learnt = choose_weights(network, "rank 4")
    assert len(learnt) == 2 * 4 * CONFIG.layers
    assert same(read_weights(network), weights), "before the first step it changes nothing"
    with torch.no_grad():
        for parameter in learnt:
            parameter.add_(0.05)
    rows = Rows(torch.arange(2, 40)[None], torch.arange(38)[None])
    with torch.no_grad():
        adapted = network(rows)
        merged = network_of(read_weights(network))(rows)
    np.testing.assert_allclose(adapted.numpy(), merged.numpy(), atol=2e-4)
    assert not same(read_weights(network), weights)


def test_the_last_layers_alone() -> None:
    network = network_of(random_weights(CONFIG, 3))
    learnt = choose_weights(network, "last 1")
    first, last = network.layers
    assert isinstance(first, Layer)
    assert not first.qkv.weight.requires_grad
    assert last.qkv.weight.requires_grad
    assert len(learnt) == 6 + 1
    with pytest.raises(ValueError, match="'some' is none of"):
        choose_weights(network, "some")


def test_learning_rate() -> None:
    rates = [learning_rate(RECIPE, seen) for seen in (0, 250, 500, 1750, 3_000, 9_000)]
    assert rates[0] < rates[1] < rates[2] == pytest.approx(RECIPE.peak)
    assert rates[3] == pytest.approx(RECIPE.peak * 0.525)
    assert rates[4] == rates[5] == pytest.approx(RECIPE.peak * RECIPE.floor)


def begin(folder: Path, recipe: Recipe = RECIPE, **changes: object) -> Run:
    plan = Plan(folder, batch_tokens=128, log_steps=1000, seed=7)
    return Run.begin(replace(plan, **changes), recipe, CONFIG, random_weights(CONFIG, 3))  # type: ignore[arg-type]


def quiet(line: str) -> None:
    pass


@pytest.mark.parametrize(
    "changes",
    [{"learns": "all"}, {"learns": "last 1"}, {"learns": "rank 2"}, {"gradient_tokens": 4, "bits": 4}],
    ids=str,
)
@pytest.mark.parametrize("layout", ["padded", "packed"])
def test_a_resumed_run_equals_one_that_never_stopped(
    tmp_path: Path, changes: dict[str, Any], layout: str
) -> None:
    """To the bit, over the end of an epoch, weights, optimizer, order and random choices alike."""
    data = random_data(tmp_path / "data", 40, 60)
    recipe = replace(RECIPE, **changes)
    begin(tmp_path / "whole", recipe, layout=layout, row_tokens=64).go(data, None, quiet)
    for tokens in (300, 1_500, 3_000):  # the rate must be that of the whole run: see the recipe in part()
        part(tmp_path / "parts", recipe, layout, tokens, data)
    whole, parts = (load_checkpoint(tmp_path / name, torch.device("cpu")) for name in ("whole", "parts"))
    assert whole is not None
    assert parts is not None
    assert whole["tokens"] == parts["tokens"] >= 3_000
    assert whole["place"] == parts["place"]
    assert whole["place"]["epoch"] >= 1
    assert torch.equal(whole["generator"], parts["generator"])
    for name, tensor in whole["network"].items():
        assert torch.equal(tensor, parts["network"][name]), name
    for index, moments in whole["optimizer"]["state"].items():
        for name, tensor in moments.items():
            assert torch.equal(tensor, parts["optimizer"]["state"][index][name]), (index, name)
    assert [line["middle"] for line in read_log(tmp_path / "whole")] == [
        line["middle"] for line in read_log(tmp_path / "parts")
    ]


def part(folder: Path, recipe: Recipe, layout: str, tokens: int, data: Data) -> None:
    """Go on until so many tokens are seen, then stop as on SIGTERM: at the next step, with a checkpoint."""
    run = begin(folder, recipe, layout=layout, row_tokens=64, log_steps=1)

    def stop_in_time(line: str) -> None:
        run.stopped = run.tokens >= tokens

    run.go(data, None, stop_in_time)


def test_a_run_learns_what_repeats(tmp_path: Path) -> None:
    """Twelve samples by heart: from chance to nearly sure, and the held-out measure sees it."""
    data = random_data(tmp_path / "data", 12, 24)
    run = begin(tmp_path / "run", replace(RECIPE, tokens=20_000), held_out_minutes=1e9)
    run.go(data, data, quiet)
    first, *_, last = (line for line in read_log(tmp_path / "run") if line["what"] == "held_out")
    assert first["nats"] > 4
    assert last["nats"] < 1
    assert last["exact"] > first["exact"] == 0


def test_another_way_of_learning_is_refused(tmp_path: Path) -> None:
    data = random_data(tmp_path / "data", 12, 24)
    begin(tmp_path / "run", replace(RECIPE, tokens=200)).go(data, None, quiet)
    with pytest.raises(ValueError, match="the checkpoint's run learns 'all', not 'rank 2'"):
        begin(tmp_path / "run", replace(RECIPE, learns="rank 2"))


def test_a_checkpoint_that_was_cut_short(tmp_path: Path) -> None:
    """A crash while writing leaves a temporary file and the checkpoint before."""
    for number in (1, 2):
        save_checkpoint(tmp_path, {"steps": number})
    (tmp_path / f"{CHECKPOINT}.tmp").write_bytes(b"half")
    found = load_checkpoint(tmp_path, torch.device("cpu"))
    assert found == {"steps": 2}
    (tmp_path / CHECKPOINT).unlink()  # between the two renames
    assert load_checkpoint(tmp_path, torch.device("cpu")) == {"steps": 1}
    assert load_checkpoint(tmp_path / "none", torch.device("cpu")) is None


def test_the_log_forgets_what_was_done_again(tmp_path: Path) -> None:
    """After a crash the run goes on from its checkpoint, and the steps behind it come a second time."""
    lines = [{"what": "step", "step": n, "middle": m} for n, m in ((1, 1.0), (2, 2.0), (3, 3.0), (2, 2.5))]
    (tmp_path / LOG).write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert [line["middle"] for line in read_log(tmp_path)] == [1.0, 2.5]


def test_the_mean_of_weights() -> None:
    one, two = random_weights(CONFIG, 1), random_weights(CONFIG, 2)
    mean = average([one, two])
    np.testing.assert_allclose(mean.layers[1].gate, (one.layers[1].gate + two.layers[1].gate) / 2, rtol=1e-6)
    assert same(average([one, one]), one)


def test_weights_travel_in_small_parts(tmp_path: Path) -> None:
    weights = random_weights(CONFIG, 3)
    written = write_parts(tmp_path, CONFIG, weights, part_bytes=30_000)
    assert len(written) > 3
    assert all(path.stat().st_size < 33_000 for path in written)
    config, found = read_parts(tmp_path)
    assert config == CONFIG
    np.testing.assert_allclose(found.embedding, weights.embedding, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(found.layers[1].down, weights.layers[1].down, rtol=1e-3, atol=1e-6)
    assert len(write_parts(tmp_path, CONFIG, found)) == 1, "what stood there before is gone"
    assert same(read_parts(tmp_path)[1], found)
    written[0].unlink()
    with pytest.raises(ValueError, match="0 parts of 1"):
        read_parts(tmp_path)
    with pytest.raises(ValueError, match=r"final_norm\.0 holds values beyond float16"):
        write_parts(tmp_path, CONFIG, replace(weights, final_norm=weights.final_norm * 1e6))
    with pytest.raises(ValueError, match="written last"):
        read_parts(tmp_path)


def test_a_run_needs_numpy_and_torch_alone(tmp_path: Path) -> None:
    """A machine with a GPU has these; the daemon, its tokenizer and its libraries it may lack."""
    random_data(tmp_path / "data", 12, 24)
    write_parts(tmp_path / "start", CONFIG, random_weights(CONFIG, 3))
    code = (
        "import sys\n"
        "for name in 'mccomd mccomd_index mccomd_plugins msgspec tokenizers pygit2 gguf onnx onnxruntime "
        "matplotlib'.split():\n    sys.modules[name] = None\n"
        "from mccomd_models.training.commands import main\nmain(sys.argv[1:])\n"
    )
    run = "run --start start --data data --folder run --tokens 300 --batch-tokens 64"
    for arguments in (run, "parts --start run --out result"):
        subprocess.run([sys.executable, "-c", code, *arguments.split()], cwd=tmp_path, check=True)
    assert not same(read_parts(tmp_path / "result")[1], read_parts(tmp_path / "start")[1])


def test_sigterm_leaves_a_checkpoint(tmp_path: Path) -> None:
    """Through the command: it says that it has begun, is told to stop, and leaves what to go on from."""
    random_data(tmp_path / "data", 40, 60)
    command = [
        sys.executable, "-m", "mccomd_models.training", "run", "--start", "tiny", "--threads", "1",
        "--data", str(tmp_path / "data"), "--folder", str(tmp_path / "run"), "--tokens", "1000000000",
        "--batch-tokens", "64", "--log-steps", "1",
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("step 1:")
        process.send_signal(signal.SIGTERM)
        process.stdout.read()
    assert process.returncode == 0
    state = load_checkpoint(tmp_path / "run", torch.device("cpu"))
    assert state is not None
    assert state["steps"] >= 1


@pytest.mark.timeout(600)  # half a minute alone; five processes that load torch on a machine under load
def test_a_whole_run_in_miniature(tmp_path: Path) -> None:
    """models/runs/smoke.sh, and what it leaves is a model that the engine completes with."""
    environment = {**os.environ, "PYTHON": sys.executable}
    subprocess.run(["bash", str(ROOT / "models/runs/smoke.sh"), str(tmp_path)], env=environment, check=True)
    measured = [line for line in read_log(tmp_path / "run") if line["what"] == "held_out"]
    assert measured[-1]["nats"] < measured[0]["nats"] - 0.5
    assert "nats a token" in (tmp_path / "curve.svg").read_text()
    seen = load_checkpoint(tmp_path / "run", torch.device("cpu"))
    assert seen is not None
    origin = "random numbers, trained by mccomd_models.training on {:,} tokens"
    assert load_manifest(tmp_path / "model").origin == origin.format(seen["tokens"])
    engine = Engine(tmp_path / "model", EngineOptions(context_tokens=256))
    try:
        assert engine.manifest.prompt.kind == "spm"
        prompt = [engine.tokenizer.token_id("<jupyter_start>"), *engine.tokenizer.encode("x = 1\n")]
        found = engine.generate(prompt, Limits(4, 1e12), lambda ids: False, CancelToken())
        assert found.ids
    finally:
        engine.close()
    further = [
        "run",
        "--start",
        f"{tmp_path}/model",
        "--data",
        f"{tmp_path}/data",
        "--folder",
        f"{tmp_path}/more",
    ]
    main([*further, "--back", "0.25", "--untrained", "tiny", "--tokens", "100", "--peak", "0"])
    more = load_checkpoint(tmp_path / "more", torch.device("cpu"))
    assert more is not None
    assert more["origin"] == origin.format(seen["tokens"])
    again = ["export", "--held-out", f"{tmp_path}/data", "--tokenizer", f"{tmp_path}/model", "--name", "tiny"]
    main([*again, "--folder", f"{tmp_path}/more", "--out", f"{tmp_path}/again", "--precision", "int4"])
    assert load_manifest(tmp_path / "again").origin == origin.format(seen["tokens"] + more["tokens"])
    model = read_model_folder(tmp_path / "model")
    expected = average([model.weights, random_weights(model.config, 1)], [0.75, 0.25])
    np.testing.assert_allclose(more["network"]["embedding.weight"], expected.embedding, rtol=1e-6, atol=1e-7)


def test_a_graph_that_computes_something_else_is_not_released(tmp_path: Path) -> None:
    one, two = random_weights(CONFIG, 3), random_weights(CONFIG, 3)
    logits = [forward(CONFIG, one, [5, 6, 7])]
    assert require_parity(logits, [forward(CONFIG, two, [5, 6, 7])]) == 0
    other = [forward(replace(CONFIG, rope_theta=20.0), one, [5, 6, 7])]
    with pytest.raises(ValueError, match="nothing was written"):
        require_parity(logits, other)
    with pytest.raises(ValueError, match="nothing was written"):
        require_parity(logits, [np.full_like(logits[0], np.nan)])
