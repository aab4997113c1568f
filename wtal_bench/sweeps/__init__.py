"""Many runs from one file: rows, seeds, bases and searches become a plan, its records become tables.

`plan` turns a sweep file into runs (`wtal_bench.running.plan.Planned`) and the number each row is read by; `search`
draws the trials of a `search:` block, on hold-out protocols alone; `tables` reads the finished records. What executes
the runs is an engine's business (`wtal_bench.engines`), and no table knows which one it was.
"""
