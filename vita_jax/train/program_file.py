"""An exported program as one file: `jax.export` for several platforms, batch dimensions left open."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
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
