"""The workloads. Each module has `TITLE`, and `run(bench)`, which returns Markdown."""
