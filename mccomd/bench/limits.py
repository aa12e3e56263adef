"""What this machine could do at best: bytes a second from memory, multiplications a second.

With numpy alone; neither is a vendor's figure, both are what a program here can get, now.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

__all__ = ["fp32_gflops", "read_gb_per_s"]

READ_MB = 256  # larger than any cache of these processors
MATRIX = 1024


def read_gb_per_s(threads: int, rounds: int = 7) -> float:
    """1e9 bytes a second when so many threads read their parts of 256 MB, the best of some rounds."""
    parts = np.array_split(np.ones(READ_MB * 1_000_000 // 8, np.int64), threads)
    with ThreadPoolExecutor(threads) as pool:

        def read() -> None:
            list(pool.map(np.bitwise_or.reduce, parts))

        return READ_MB / 1000 / _best(read, rounds)


def fp32_gflops(rounds: int = 7) -> float:
    """1e9 float32 operations a second in numpy's matrix product, with all its threads."""
    left = np.ones((MATRIX, MATRIX), np.float32)
    right = left.copy()
    return 2 * MATRIX**3 / 1e9 / _best(lambda: left @ right, rounds)


def _best(job: Callable[[], object], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        job()
        times.append(time.perf_counter() - began)
    return min(times)
