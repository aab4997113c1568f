"""What executes runs, and workers of `infer`: this process, worker processes, Ray or Slurm. No scheduler of our own.

A run is plain data (`wtal_bench.running.plan.Planned`) that any process makes alone, in a folder that it locks, and
whose record says what came out. So an engine only says who makes which run when; tables read the records, and no number
depends on the engine: the same thread count gives the same bits. What an engine asks of a run is a `job.Job`;
`wtal_bench.running.infer_jobs.PartsJob`, a worker that makes parts of detections, is another.

- `here`: one after another in this process.
- `local`: `--jobs` worker processes; GPUs are shared out among them.
- `ray` (extra `ray`): every run a task of a cluster, joined with `--address`, or of one started here.
- `slurm` (extra `slurm`): an array job by submitit, requeued on pre-emption.

All of them go round a folder that another sweep is in and come back to see what it left, so sweeps share the work. A
run whose process died is made again from its last checkpoint, a bounded number of times.
"""
