"""What the files of whole runs leave to us, one module a method: `fill(meta, arrays)` gives

- `options`: overrides that make the shipped config the file's run; `seed` where the file has none.
- `mapping`: our state-dict entry -> the authors' name.
- `loss_names`: our log's name of every column of `losses`, None for one we do not log.
- `evaluator`: the evaluator that is theirs, a name in `evaluation.PRESETS`.
- `inject`: the order of videos is not that of a seed, so the file's batches are given to the run.
- `pairs_first`: of every such batch, how many pairs of rows stand first.
- `shortest_tested`: the authors test no video of fewer snippets.
"""
