"""A config -> a run -> a record, on mmengine's Runner.

mmengine's, used as it is: Runner and its hook order, Hook, EMAHook and every hook of `runtime.hooks`, OptimWrapper,
parameter schedulers (`train.lr_schedule`), visualizer back-ends (`runtime.visualizer`), logger, message hub, DDP
wrapper, validation loop.

Ours, since a run must repeat bit for bit and say what it is:
- `loop`: starts in the middle of an epoch and counts epochs or iterations; mmengine's does one thing each.
- `loader`: a batch is a function of (seed, epoch), so that workers, ranks and resuming change nothing.
- `checkpoint`: tensors and plain values alone, read without running code; mmengine's pickle more than torch loads.
- `resuming`, `parents`: what a run may go on from, or begin from: the data, config and seed it names, nothing else.
- `plan`: what a sweep or `train --seeds` has to do, as runs that any process can make alone (`execute`); which one does
  is the business of `wtal_bench.engines`.
- `hooks`, `schedule`: seeds and rates are functions of the position; mmengine keeps them as state, and not all of it.
- `optim`: bf16 without a GPU or a scaler, gradients summed as authors summed them, any class of torch.optim.
- `configured_hooks`: what hooks remember goes into checkpoints, and no hook is led to a temporal annotation.
- `runner`: `build_training` and `build_testing`; testing is a plain loop, since no Runner should hold the evaluator.
- `config`, `settings`: an unknown key is an error that names the nearest one; mmengine merges it in silence. Files are
  read by `wtal_bench.recipes`, which says why.
"""
