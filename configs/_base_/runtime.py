# How every run executes. Nothing here but the seed and the precision changes a result.
runtime = dict(seed=0, device='auto', precision='float32', deterministic=True)
