"""How far model folders agree with a reference folder, and how fast they are, side by side.

    python -m mccomd_models.measure REFERENCE MODEL...

The text is 2,000 tokens of the running Python's standard library. Speeds alternate between the models,
because a machine drifts more within minutes than models differ; compare only what one run prints.
"""

from __future__ import annotations

import argparse
import sysconfig
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mccomd.engine.artifact import load_manifest
from mccomd.engine.session import EngineOptions, FloatArray, Session
from mccomd.engine.tokenizer import Tokenizer

__all__ = ["main"]

FILES = ("textwrap.py", "heapq.py", "json/decoder.py", "shutil.py", "argparse.py")
TOKENS_EACH = 400
ROUNDS = 15
PREFILL_TOKENS = 256


@dataclass(slots=True)
class Model:
    folder: Path
    session: Session
    texts: list[list[int]]
    milliseconds: dict[str, list[float]] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path) -> Model:
        manifest = load_manifest(folder)
        tokenizer = Tokenizer(folder, (), manifest.vocab)
        library = Path(sysconfig.get_paths()["stdlib"])
        texts = [tokenizer.encode((library / f).read_text()[3000:6000])[:TOKENS_EACH] for f in FILES]
        options = EngineOptions(context_tokens=1024, prefill_chunk=TOKENS_EACH)
        return cls(folder, Session(folder, manifest, options), texts)

    def logits(self, ids: Sequence[int]) -> FloatArray:
        self.session.rewind(0)
        return self.session.forward(ids, len(ids))

    def clock(self, name: str, ids: Sequence[int], n_logits: int) -> None:
        started = time.perf_counter()
        self.session.forward(ids, n_logits)
        self.milliseconds.setdefault(name, []).append((time.perf_counter() - started) * 1e3)

    def clock_all(self) -> None:
        """One round: a prefill, then passes of 1, 4 and 8 tokens behind it."""
        ids = self.texts[0]
        self.session.rewind(0)
        self.clock(f"prefill {PREFILL_TOKENS}", ids[:PREFILL_TOKENS], 1)
        for count in (1, 4, 8):
            following = ids[PREFILL_TOKENS : PREFILL_TOKENS + count]
            for _ in range(3):
                self.session.rewind(PREFILL_TOKENS)
                self.clock(f"{count} at {PREFILL_TOKENS}", following, count)


def choices(model: Model) -> tuple[NDArray[np.intp], float]:
    """The most probable id after each token of the texts, and the mean nats per true token."""
    best, nll = [], []
    for ids in model.texts:
        logits = model.logits(ids).astype(np.float64)
        best.append(logits.argmax(axis=1))
        truth = logits[np.arange(len(ids) - 1), ids[1:]]
        nll.append(np.log(np.exp(logits[:-1]).sum(axis=1)) - truth)
    return np.concatenate(best), float(np.concatenate(nll).mean())


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m mccomd_models.measure")
    parser.add_argument("reference", type=Path, help="the folder to agree with, usually float32")
    parser.add_argument("models", type=Path, nargs="+")
    options = parser.parse_args(arguments)
    reference, nll = choices(Model.load(options.reference))
    print(f"{options.reference}: {len(reference)} tokens, nll {nll:.4f}")
    models = [Model.load(folder) for folder in options.models]
    for _ in range(ROUNDS):
        for model in models:
            model.clock_all()
    for model in models:
        best, nll = choices(model)
        print(f"{model.folder}: agreement {np.mean(best == reference):.2%}, nll {nll:.4f}")
        for name, times in model.milliseconds.items():
            print(f"    {name}: {np.median(times):.2f} ms median, {min(times):.2f} least")


if __name__ == "__main__":
    main()
