"""Worker: steps of Self-PU. Arguments: nnpu|calibrated|second_order|epoch|matmul IMAGES."""

from __future__ import annotations

import importlib.util
import math
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.measure import LAUNCH, serve
from vita_jax import papers
from vita_jax.data.resident import batch_at
from vita_jax.data.rows import gather
from vita_jax.losses import pu
from vita_jax.papers.self_pu.calibrate import calibration_weights
from vita_jax.papers.self_pu.data import prepare_image
from vita_jax.papers.self_pu.model import MLP, make_network
from vita_jax.papers.self_pu.recipe import recipe_of
from vita_jax.train.mesh import make_mesh
from vita_jax.train.programs import make_programs

SIDE = 2048  # of the matrices whose product is the arithmetic limit


def get_config(images: str, method: str):
  spec = importlib.util.spec_from_file_location(
    "config", LAUNCH.parent / "configs" / "self_pu" / f"{images}.py"
  )
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module.get_config(method)


def forward_flops(config, n_inputs: int) -> int:
  """Multiplications and additions of one row's forward pass: 2 per weight of a matrix."""
  widths = [n_inputs, *config.model.hidden, 1]
  return sum(2 * a * b for a, b in zip(widths[:-1], widths[1:], strict=True))


def make_stage(config, number: int):
  """Returns `advance(n)`, n further steps of one stage in one compiled call, and its batch of everything."""
  experiment = papers.build(config)
  number %= len(experiment.stages)
  stage = experiment.stages[number]
  programs = make_programs(experiment, make_mesh(config.mesh), on_nonfinite="stop")
  seed = programs.place(np.uint32(0))
  state = programs.init(seed)
  for one in experiment.stages[: number + 1]:
    state = programs.enter(one, state)
  carry = [state, programs.cursor()]
  chunk = programs.chunk(stage, state)

  def advance(n: int) -> None:
    state, cursor = carry
    until = programs.place(np.int32(int(cursor.at) + n))
    state, cursor, _ = chunk(state, seed, cursor, until)
    carry[:] = jax.block_until_ready([state, cursor])

  return advance, experiment, stage


def second_order(config):
  """Returns `advance(n)`: calibrated steps, the virtual update differentiated as defined, and Adam."""
  from vita_jax.papers.self_pu.steps import optimizer

  experiment, tx = papers.build(config), optimizer(recipe_of(config))
  network = make_network(MLP(hidden=tuple(config.model.hidden)), partial(prepare_image, config.data.name))
  state = jax.jit(experiment.init)(jax.random.key(0))
  stage = experiment.stages[0]
  rows = jax.device_put(batch_at(stage.also["rows"], stage.also["rows"].arrays, 0, 0))
  params, stats = jax.tree.map(lambda x: x[0], (state["params"], state["batch_stats"]))
  labelled = jnp.arange(config.batch_size) % (len(rows["positive"]) // config.data.n_labelled) == 0

  def step(t, params, moments, rows):
    batch = gather(rows, (t * 7919 + jnp.arange(config.batch_size)) % len(rows["positive"]))
    clean = gather(rows, state["validation"][: config.batch_size])

    def validation(params):
      logits = network.forward(params, stats, clean["x"])[0]
      return jnp.mean(pu.binary_cross_entropy(logits, clean["positive"].astype(jnp.float32)))

    def virtual(weights):
      def weighted(params):
        logits = network.forward(params, stats, batch["x"])[0]
        risk = pu.upu_risk(logits, labelled, prior=config.prior, weights=weights[1])
        return jnp.mean(weights[0] * pu.binary_entropy(logits)) + risk

      slope = jax.grad(weighted)(params)
      return validation(jax.tree.map(lambda p, s: p - config.calibration.rate * s, params, slope))

    zeros = jnp.zeros((2, config.batch_size))
    ce, rest = calibration_weights(*-jax.grad(virtual)(zeros), labelled)

    def loss(params):
      logits = network.forward(params, stats, batch["x"])[0]
      objective = pu.nnpu_gradient_objective(logits, labelled, prior=config.prior, weights=rest)
      return objective + jnp.mean(ce * pu.binary_entropy(logits))

    updates, moments = tx.update(jax.grad(loss)(params), moments, params)
    return jax.tree.map(lambda p, u: p - 5e-4 * u, params, updates), moments

  @jax.jit
  def run(params, moments, rows, n):
    return jax.lax.fori_loop(0, n, lambda t, c: step(t, *c, rows), (params, moments))

  moments = tx.init(params)
  return lambda n: jax.block_until_ready(run(params, moments, rows, np.int32(n))), experiment


def main(kind: str, images: str) -> None:
  if kind == "matmul":
    a = jnp.ones((SIDE, SIDE), jnp.float32)
    product = jax.jit(lambda a, n: jax.lax.fori_loop(0, n, lambda _, x: x @ a / SIDE, a))
    advance, flops, facts = lambda n: jax.block_until_ready(product(a, np.int32(n))), 2 * SIDE**3, {}
  else:
    method = {"nnpu": "nnpu", "epoch": "self_pu"}.get(kind, "self_calibrated")
    config = get_config(images, method)
    config.calibration.start = 0
    if kind == "second_order":
      advance, experiment = second_order(config)
    else:
      advance, experiment, stage = make_stage(config, -1 if kind == "epoch" else 0)
    rows = experiment.stages[0].also["rows"].arrays["x"]
    forward = forward_flops(config, math.prod(rows.shape[1:])) * config.batch_size
    first = 2 * math.prod(rows.shape[1:]) * config.model.hidden[0] * config.batch_size
    # Backward: twice the forward pass, but no gradient of the input.
    trained, facts = 3 * forward - first, {}
    # The same arithmetic is counted for both forms of calibration: that of the closed one.
    flops = trained + (2 * forward - first + trained if kind in ("calibrated", "second_order") else 0)
    if kind == "epoch":
      phase = stage.also["phase"].arrays
      trusted, rest = (int(phase[k].sum()) for k in ("own_trusted_steps", "own_pu_steps"))
      # Teachers look at every batch, the other student at those of labelled and unlabelled rows.
      flops = (trusted + rest) * (trained + forward) + rest * forward
      facts = {"steps": int(phase["steps"]), "examples": (trusted + rest) * config.batch_size}
      one, steps = advance, facts["steps"]

      def advance(n):
        return one(n * steps)

  advance(1)
  serve(advance, flops=flops, **facts)


if __name__ == "__main__":
  main(*sys.argv[1:])
