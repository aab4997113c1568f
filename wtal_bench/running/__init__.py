"""A config -> a run: config checks, Runner assembly, hooks, checkpoints, provenance."""
