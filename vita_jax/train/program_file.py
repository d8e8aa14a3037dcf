"""An exported program: run over a user's data, or as one file (`jax.export`, batch dimensions left open)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from vita_jax.base.files import write_bytes
from vita_jax.base.tree import path_name
from vita_jax.train.experiment import Exported


def write_program(path: Path, exported: Exported, *, platforms: Sequence[str]) -> int:
  """Writes `program(params, inputs)`; `params` is the flat dict that safetensors holds.

  Returns:
    The size of the file in bytes.
  """
  leaves, structure = jax.tree_util.tree_flatten_with_path(exported.params)
  names = [path_name(p) for p, _ in leaves]
  shapes = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for _, leaf in leaves]
  flat = dict(zip(names, shapes, strict=True))

  def program(params, inputs):
    tree = jax.tree.unflatten(structure, [params[name] for name in names])
    return exported.program(tree, **inputs)

  scope = export.SymbolicScope()
  inputs = {
    name: jax.ShapeDtypeStruct(export.symbolic_shape(shape, scope=scope), jnp.dtype(dtype))
    for name, (shape, dtype) in exported.inputs.items()
  }
  data = bytes(export.export(jax.jit(program), platforms=tuple(platforms))(flat, inputs).serialize())
  write_bytes(path, data)
  return len(data)


def run_program(exported: Exported, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
  """Runs the program over inputs on the host: all at once, or `rows_per_call` rows after the other.

  Of the last rows, copies of the very last fill the call up, so that it is compiled once; they are cut off.
  """
  program = jax.jit(lambda params, inputs: exported.program(params, **inputs))
  size = exported.rows_per_call
  if not size:
    return jax.device_get(program(exported.params, inputs))
  n = len(next(iter(inputs.values())))
  parts = []
  for first in range(0, n, size):
    rows = np.minimum(np.arange(first, first + size), n - 1)
    parts.append(jax.device_get(program(exported.params, {name: x[rows] for name, x in inputs.items()})))
  return {name: np.concatenate([part[name] for part in parts])[:n] for name in parts[0]}
