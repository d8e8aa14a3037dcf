"""What a run would need, by the compiler alone: nothing is computed, and the target machine is not needed."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

import jax
import ml_collections
import numpy as np

from vita_jax.data.resident import Resident
from vita_jax.train.batches import check_data, stage_data
from vita_jax.train.config import check_config
from vita_jax.train.experiment import Experiment
from vita_jax.train.mesh import check_layout, make_mesh
from vita_jax.train.programs import make_programs


class Need(NamedTuple):
  """What one stage needs on each device.

  Attributes:
    stage: its name.
    steps: its upper bound.
    state: entry of the state -> bytes.
    data: bytes of Resident data, which every device holds whole.
    temporaries: bytes of intermediate results of a step, by the compiler's own analysis.
    flops: of a step on one device, as the compiler counts: the body of a loop counts once.
    compile_seconds: of this machine.
  """

  stage: str
  steps: int
  state: dict[str, int]
  data: int
  temporaries: int
  flops: float
  compile_seconds: float


def dry_run(experiment: Experiment, config: ml_collections.ConfigDict) -> list[Need]:
  """Compiles one step of each stage for the mesh of the config.

  Raises:
    ValueError: a config or a layout of devices that cannot be.
  """
  check_config(config)
  mesh = make_mesh(config.mesh)
  check_layout(mesh, experiment, config.replicate)
  check_data(experiment)
  programs = make_programs(experiment, mesh, on_nonfinite=config.on_nonfinite)
  needs = []
  for number, stage in enumerate(experiment.stages):
    state = programs.abstract(number)
    began = time.monotonic()
    compiled = programs.lower(number).compile()
    resident = [d.arrays for d in stage_data(stage).values() if isinstance(d, Resident)]
    needs.append(
      Need(
        stage=stage.name,
        steps=stage.steps,
        state={name: sum(map(_bytes_of, jax.tree.leaves(part))) for name, part in state.items()},
        data=sum(np.asarray(x).nbytes for x in jax.tree.leaves(resident)),
        temporaries=getattr(compiled.memory_analysis(), "temp_size_in_bytes", 0),
        flops=(compiled.cost_analysis() or {}).get("flops", float("nan")),
        compile_seconds=time.monotonic() - began,
      )
    )
  return needs


def _bytes_of(leaf: jax.ShapeDtypeStruct) -> int:
  is_key = jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
  size = 8 if is_key else leaf.dtype.itemsize
  return int(np.prod(leaf.sharding.shard_shape(leaf.shape))) * size


def table(needs: list[Need], mesh: Any) -> str:
  """The needs as lines of text."""
  layout = " x ".join(f"{axis}={size}" for axis, size in mesh.items())
  lines = [f"per device of mesh {layout}; nothing was run"]
  for need in needs:
    lines.append(
      f"stage {need.stage}, at most {need.steps:,} steps (compiled in {need.compile_seconds:.1f} s)"
    )
    lines += [f"  state/{name:<22} {_shown(size)}" for name, size in need.state.items()]
    lines.append(f"  {'data':<28} {_shown(need.data)}")
    lines.append(f"  {'temporaries of a step':<28} {_shown(need.temporaries)}")
    total = sum(need.state.values()) + need.data + need.temporaries
    lines.append(f"  {'in all':<28} {_shown(total)}")
    lines.append(f"  {'FLOPs of a step':<28} {need.flops:>12.4g}")
  return "\n".join(lines)


def _shown(size: float) -> str:
  for unit in ("B", "kB", "MB"):
    if size < 1000:
      return f"{size:>12.4g} {unit}"
    size /= 1000
  return f"{size:>12.4g} GB"
