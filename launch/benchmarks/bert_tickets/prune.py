"""Answers with seconds and peak memory of pruning the matrices of BERT-base. Arguments: host|jit WEIGHTS."""

from __future__ import annotations

import functools
import json
import resource
import sys
import time

import jax
import numpy as np

from vita_jax import compress
from vita_jax.nn.bert import PRUNABLE, BertConfig, shapes


def main(how: str, weights: int) -> None:
  rng, params, total = np.random.default_rng(0), {}, 0
  for path, shape in shapes(BertConfig()).items():
    name = "/".join(path)
    size = int(np.prod(shape))
    if path[-1] == "kernel" and (total + size <= weights or not params):
      params[name] = jax.numpy.asarray(rng.standard_normal(shape, np.float32))
      total += size
  prune = functools.partial(compress.magnitude_masks, sparsity=0.7, select=PRUNABLE)
  if how == "jit":
    prune = jax.jit(prune).lower(params).compile()
  before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  start = time.perf_counter()
  jax.block_until_ready(prune(params))
  seconds = time.perf_counter() - start
  more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
  print(json.dumps({"weights": total, "seconds": seconds, "memory": more * 1024 / (4 * total)}))


if __name__ == "__main__":
  main(sys.argv[1], int(sys.argv[2]))
