"""The tests of training run where torch is installed, as in CI: for most people it is some gigabytes."""

from __future__ import annotations

import importlib.util

collect_ignore = [] if importlib.util.find_spec("torch") else ["test_training_run.py"]
