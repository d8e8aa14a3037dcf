"""Checks and step times on a GPU or TPU, in one table: `make gpu`, or launch/benchmark.py gpu.

Three parts, in under 8 minutes: the laws' smallest rows on the accelerator (where pytest and the tests are
there), the forms that differ by platform against those of the CPU, and one training step of each paper, of
the renderer and of a detector with its time, its share of the device's measured matrix-product rate, and its
memory. It needs no network and installs nothing. The steps are `steps` of every gpu.py in a folder here, of a
paper or not; an operation that differs by platform adds a line to `forms`, here or in such a file.
On a CPU there is nothing to do; --on_cpu runs a small part there all the same, to try the command itself.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.measure import LAUNCH, print_table
from benchmarks.one_step import Form, Step
from vita_jax.nn import edge_shards, graph
from vita_jax.nn.conv import convolve, convolve_transposed
from vita_jax.papers import PAPERS

LAWS = "(digits_resident or digits_stream or ss_gcn_partition) and (survives or killed or traces)"
LAW_SECONDS = 240
SIZE = 4096  # of the matrices whose product is the arithmetic limit


def main(*, on_cpu: bool = False, seconds: float = 5.0) -> None:
  """Prints the tables.

  Raises:
    RuntimeError: a law or a form fails on this device; everything else was printed before.
  """
  # Memory is measured, and shared with the laws.
  os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
  device = jax.devices()[0]
  if device.platform == "cpu" and not on_cpu:
    print(
      "no accelerator: jax sees only the CPU here, so there is nothing to check (--on_cpu tries the command)"
    )
    return
  print(f"jax {jax.__version__}, {jax.device_count()} x {device.device_kind} ({device.platform})")
  faults = [] if on_cpu else laws(device.platform)
  faults += compare_forms()
  rate = matmul_rate(jax.numpy.float32, 256 if on_cpu else SIZE)
  rows = [["step", "device", "ms", "GFLOP", "GFLOP/s", "of matmul", "MB"]]
  for step in steps(small=on_cpu):
    rows.append([step.name, device.device_kind, *measure(step, rate, seconds=seconds)])
  print_table(f"one training step; a float32 product runs at {rate / 1e12:.2f} TFLOP/s here", rows)
  if faults:
    raise RuntimeError(f"{len(faults)} of the checks failed: {'; '.join(faults)}")


def laws(platform: str) -> list[str]:
  """Runs the smallest laws on the accelerator in a process of their own; returns what failed."""
  root = LAUNCH.parent
  try:
    import pytest  # noqa: F401
  except ImportError:
    print("laws: skipped, pytest is not installed")
    return []
  if not (root / "tests" / "laws").is_dir():
    print("laws: skipped, there is no checkout with tests here")
    return []
  environment = {
    **os.environ,
    "JAX_PLATFORMS": f"{platform},cpu".replace("gpu", "cuda"),
    "XLA_FLAGS": "--xla_gpu_deterministic_ops=true" if platform == "gpu" else "",
    "JAX_DEFAULT_MATMUL_PRECISION": "highest",
  }
  command = [sys.executable, "-m", "pytest", "-q", "-x", "tests/laws", "-k", LAWS, "-p", "no:cacheprovider"]
  start = time.perf_counter()
  try:
    done = subprocess.run(
      command, cwd=root, env=environment, capture_output=True, text=True, timeout=LAW_SECONDS
    )
  except subprocess.TimeoutExpired:
    return [f"the laws took longer than {LAW_SECONDS} s"]
  lines = done.stdout.strip().splitlines() or [done.stderr.strip()]
  print(f"laws: {lines[-1]} ({time.perf_counter() - start:.0f} s)")
  return [] if done.returncode == 0 else [f"laws: {lines[-1]}"]


def compare_forms() -> list[str]:
  """Prints how far each form is from its reference, in value and gradient; returns those too far."""
  rows, faults = [["form", "largest difference", "allowed", ""]], []
  with jax.default_matmul_precision("highest"):
    for form in forms():
      ours, expected = (_value_and_gradients(f, form.inputs) for f in (form.ours, form.expected))
      far = max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in zip(ours, expected, strict=True))
      good = far <= form.tolerance
      faults += [] if good else [f"{form.name}: {far:.1e}"]
      rows.append([form.name, f"{far:.1e}", f"{form.tolerance:.0e}", "equal" if good else "DIFFERENT"])
  print_table("forms that differ by platform: value and gradient, relative to the largest entry", rows)
  return faults


def _value_and_gradients(f: Callable[..., Any], inputs: tuple[Any, ...]) -> list[np.ndarray]:
  def loss(*inputs):
    return jnp.sum(jnp.sin(f(*inputs)))

  gradients = jax.jit(jax.grad(loss, argnums=tuple(range(len(inputs)))))(*inputs)
  return [np.asarray(x) for x in (jax.jit(f)(*inputs), *gradients)]


def forms() -> list[Form]:
  """Returns the operations whose form differs by platform, each beside its other form."""
  rng = np.random.default_rng(0)

  def normal(*shape):
    return jnp.asarray(rng.standard_normal(shape), jnp.float32)

  found = []
  kernels = {  # name: function of (x, w, form), its options, x, w
    "conv2d": (convolve, {"padding": "SAME"}, normal(4, 17, 16, 8), normal(3, 3, 8, 12)),
    "conv2d, stride 2": (convolve, {"stride": 2}, normal(4, 17, 16, 8), normal(3, 3, 8, 12)),
    "depthwise": (convolve, {"padding": 2, "groups": 8}, normal(4, 17, 16, 8), normal(5, 5, 1, 8)),
    "transposed": (
      convolve_transposed,
      {"stride": 2, "padding": 1, "output_padding": 1},
      normal(4, 9, 8, 8),
      normal(3, 3, 8, 12),
    ),
    "conv3d": (convolve, {}, normal(2, 9, 8, 7, 4), normal(3, 3, 3, 4, 6)),
  }
  for name, (f, options, *inputs) in kernels.items():
    ours, other = (functools.partial(f, form=form, **options) for form in ("native", "shifted"))
    found.append(Form(name, ours, other, tuple(inputs), 1e-5))
  factors = (normal(64, 256) / 16, normal(256, 64))
  found.append(Form("bfloat16 product", _bfloat16_product, jnp.matmul, factors, 1e-2))
  elsewhere = [form for module in modules() for form in getattr(module, "forms", list)()]
  return found + _graph_forms(normal(400, 16)) + elsewhere


def _bfloat16_product(x: jax.Array, w: jax.Array) -> jax.Array:
  return jnp.matmul(x.astype(jnp.bfloat16), w.astype(jnp.bfloat16), preferred_element_type=jnp.float32)


def _graph_forms(h: jax.Array) -> list[Form]:
  """Propagation h [400, d] over a random graph, on one device and with its edges spread over several."""
  pairs = np.random.default_rng(1).integers(400, size=(1600, 2))
  edges = np.unique(np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1), axis=0)
  whole = graph.adjacency(edges, np.zeros(0, np.int64), 400)
  weight = jnp.asarray(whole.gcn)
  dense = jnp.zeros((400, 400)).at[whole.receivers, whole.senders].add(weight)
  n = max(n for n in (1, 2, 4, 8) if n <= jax.device_count())
  mesh = jax.make_mesh((n,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
  shards = edge_shards.edge_shards(whole, n)
  weights = edge_shards.sharded_weights(shards, weight)

  def one(h):
    return graph.propagate(whole, h, weight)

  def spread(h):
    return edge_shards.propagate(shards, weights, h, mesh=mesh)

  def product(h):
    return dense @ h

  forms = {"propagation on a graph": one, f"its edges over {n} device(s)": spread}
  return [Form(name, form, product, (h,), 1e-5) for name, form in forms.items()]


def modules() -> list[ModuleType]:
  """Imports every gpu.py here: those of the papers in their order, then the others by name."""
  found = sorted(file.parent.name for file in Path(__file__).parent.glob("*/gpu.py"))
  names = [*PAPERS, *(name for name in found if name not in PAPERS)]
  return [import_module(f"benchmarks.{name}.gpu") for name in names]


def steps(*, small: bool) -> list[Step]:
  """Returns the steps of every gpu.py; `small`: for a CPU."""
  return [step for module in modules() for step in module.steps(small=small)]


def matmul_rate(dtype: Any, size: int) -> float:
  """Returns the FLOP/s of a product of square matrices, the best of five."""
  x = jnp.ones((size, size), dtype)
  product = jax.jit(lambda x: x @ x * (1 / size))
  product(x).block_until_ready()
  spent = []
  for _ in range(5):
    start = time.perf_counter()
    product(product(x)).block_until_ready()
    spent.append(time.perf_counter() - start)
  return 2 * 2 * size**3 / min(spent)


def measure(step: Step, rate: float, *, seconds: float) -> list[str]:
  """Returns the cells of a row: milliseconds, GFLOP, GFLOP/s, share of `rate`, megabytes in all."""
  run, state, batch = step.make()
  compiled = (
    jax.jit(lambda state, batch, t: run(state, batch, t)[0]).lower(state, batch, jnp.int32(0)).compile()
  )
  costs, memory = compiled.cost_analysis() or {}, compiled.memory_analysis()
  flops = float(costs.get("flops", 0.0))
  state = jax.block_until_ready(compiled(state, batch, jnp.int32(0)))
  n, start = 0, time.perf_counter()
  while (spent := time.perf_counter() - start) < seconds or n < 2:
    for _ in range(10):  # ahead of the device, as the loop is
      state, n = compiled(state, batch, jnp.int32(n + 1)), n + 1
    jax.block_until_ready(state)
  each = spent / n
  size = sum(getattr(memory, f"{part}_size_in_bytes", 0) for part in ("argument", "output", "temp"))
  share = f"{flops / each / rate:.1%}" if rate else ""
  return [
    f"{each * 1e3:.3f}",
    f"{flops / 1e9:.3f}",
    f"{flops / each / 1e9:,.1f}",
    share,
    f"{size / 1e6:,.1f}",
  ]
