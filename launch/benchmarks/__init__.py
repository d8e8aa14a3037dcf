"""The measurements behind launch/benchmark.py, one file each."""
