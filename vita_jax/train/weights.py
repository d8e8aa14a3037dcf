"""Weights as files anyone can read: safetensors with '/'-joined names; and `config.init_from`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vita_jax.base.files import write_bytes
from vita_jax.base.tree import named_leaves, path_name
from vita_jax.data.files import read_safetensors
from vita_jax.train.errors import RunError
from vita_jax.train.transfer import put


def save_params(path: Path, params: Any, *, metadata: dict[str, str] | None = None) -> None:
  """Writes a tree of arrays as safetensors, one tensor per leaf, named by its '/'-joined path.

  `metadata` is what the file's header carries beside them.
  """
  from safetensors.numpy import save

  tensors = {n: np.asarray(jax.device_get(leaf), order="C") for n, leaf in named_leaves(params).items()}
  write_bytes(path, save(tensors, metadata))  # unlike save_file, whole or not at all


def load_params(path: Path) -> dict[str, np.ndarray]:
  """Reads what `save_params` wrote: '/'-joined name -> array.

  Raises:
    FileNotFoundError: no such file.
    ValueError: not a safetensors file.
  """
  if not Path(path).is_file():
    raise FileNotFoundError(f"no weights at {path}: --config.init_from takes the workdir of a finished run")
  return read_safetensors(path)


def start_from(state: dict[str, Any], workdir: str, *, replicas: int | None) -> dict[str, Any]:
  """Returns the state with `state["params"]` replaced by the weights of the finished run in `workdir`.

  Raises:
    RunError: its weights cannot be read; one is missing there, has another shape, or is of another kind
      (integers for floats).
  """
  if Path(workdir).is_file():
    raise RunError(f"config.init_from={workdir} is a file: give the workdir of a finished run")
  try:
    loaded = load_params(Path(workdir) / "export" / "params.safetensors")
  except ValueError as error:
    raise RunError(f"config.init_from={workdir}: {error}, or give another run") from error

  def replace(path, leaf):
    name = path_name(path)
    shape = leaf.shape[1:] if replicas else leaf.shape
    if name not in loaded or loaded[name].shape != shape:
      found = f"has shape {loaded[name].shape}" if name in loaded else f"is not among {sorted(loaded)[:5]}"
      raise RunError(
        f"config.init_from={workdir}: '{name}' should have shape {shape} and {found};"
        " that run has another architecture (see its config.json)"
      )
    if _kind(loaded[name].dtype) != _kind(leaf.dtype):
      raise RunError(
        f"config.init_from={workdir}: '{name}' should be {leaf.dtype} and is {loaded[name].dtype}, which is"
        " not the same kind of number; export those weights again"
      )
    with np.errstate(over="ignore"):
      weights = loaded[name].astype(leaf.dtype)
    if not np.isfinite(weights.astype(np.float64)).all():
      raise RunError(f"config.init_from={workdir}: '{name}' is not finite in {leaf.dtype}: that run diverged")
    return put(np.broadcast_to(weights, leaf.shape), leaf.sharding)

  return {**state, "params": jax.tree_util.tree_map_with_path(replace, state["params"])}


def _kind(dtype: Any) -> str:
  """What numbers of a dtype are: numpy's own `kind` says "V" of bfloat16."""
  for kind in (jnp.floating, jnp.complexfloating, jnp.bool_, jnp.integer):
    if jnp.issubdtype(dtype, kind):
      return kind.__name__
  return str(dtype)
