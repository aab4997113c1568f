"""Mutated inputs for every reader: whatever a file holds, a verb answers with a sentence and exit code 2.

`python -m tests.fuzz --n 10000` runs many; `tests/fuzz/test_fuzz.py` runs a few hundred in CI.
"""
