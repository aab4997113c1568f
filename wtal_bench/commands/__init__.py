"""One module a verb: SUMMARY and EXAMPLE for its help, `configure(parser)`, `run(args) -> exit status`.

A verb reads arguments, calls the rooms and prints; what it calls lives in those rooms. Modules are found by name
(`new-plugin` is `new_plugin`), imported when their verb is used, and import torch inside `run` if at all.
"""
