"""The measurements behind launch/benchmark.py: folders for papers, renderer, detectors and engine.

In a paper's folder `compare.py` has the `main` that launch/benchmark.py finds and calls: its keyword
arguments are the flags that it has, its first line is the help. `steps.py` is the worker that runs our
steps, and each peer's worker is a file named for it.
`measure.py` has clocks, workers and tables, `fastest_torch.py` a PyTorch step in its best setting.
"""
