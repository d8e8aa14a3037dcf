"""Multipliers and the controller are optax transformations like others: the laws of test_optax_laws.py."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from optim.table import assert_close, gradients_like, jit, play, shapes_and_types, small_params
from vita_jax.nn.policy import CategoricalPolicy
from vita_jax.optim import (
  LayerwiseSettings,
  group_by_pattern,
  layerwise_policy,
  scale_by_group,
  set_multipliers,
  torch_sgd,
  velocity_sgd,
)

PARAMS = small_params()
GRADIENTS = gradients_like(PARAMS, 4)
LABELS = group_by_pattern({"layer": "^layer/", "rest": ""})
LOSS = {"loss": jnp.float32(0.7), "kl": jnp.float32(0.1)}


@functools.cache
def _controller():
  policy = CategoricalPolicy(2, actions=3, hidden=2)
  drawn = policy.init(jax.random.key(0), jnp.zeros(5), jnp.zeros(2), policy.initial_state())
  theta = jax.tree.map(lambda x: x + 0.3, drawn)
  settings = LayerwiseSettings(epoch=4, steps=8, head="b", smallest=1, rollout=2)
  return layerwise_policy(theta, LABELS, settings, policy=policy)


KINDS = {
  "scale_by_group": lambda: scale_by_group(LABELS),
  "velocity_sgd": lambda: velocity_sgd(0.1, scale_by_group(LABELS), weight_decay=1e-2),
  "torch_sgd": lambda: torch_sgd(0.1, scale_by_group(LABELS), weight_decay=1e-2),
  "layerwise_policy": lambda: velocity_sgd(0.1, _controller()),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def _made(kind):
  """(transformation, its extra arguments)."""
  return KINDS[kind](), LOSS if kind == "layerwise_policy" else {}


def _first(tx, params, values=(0.5, 0.0)):
  """The state, with multipliers that are not 1."""
  return set_multipliers(tx.init(params), values)


@every_kind
def test_jit_and_scan_give_the_loop_without_jit(kind):
  tx, extra = _made(kind)
  expected, last = play(tx, GRADIENTS, PARAMS, _first(tx, PARAMS), **extra)
  found, state = play(tx, GRADIENTS, PARAMS, _first(tx, PARAMS), compiled=True, **extra)
  assert_close(found, expected)
  assert_close(state, last)

  def step(carry, g):
    params, state = carry
    updates, state = tx.update(g, state, params, **extra)
    return (optax.apply_updates(params, updates), state), updates

  stacked = jax.tree.map(lambda *x: jnp.stack(x), *GRADIENTS)
  (_, state), scanned = jax.lax.scan(step, (PARAMS, _first(tx, PARAMS)), stacked)
  assert_close(scanned, jax.tree.map(lambda *x: jnp.stack(x), *expected))
  assert_close(state, last)


@every_kind
def test_vmap_gives_the_single_runs(kind):
  """Each with multipliers of its own."""
  tx, extra = _made(kind)
  params = [small_params(seed) for seed in (1, 2)]
  gradients = [gradients_like(p, 3, seed=i) for i, p in enumerate(params)]
  values = jnp.array([[1.0, 0.0], [0.3, 0.7]])

  def stack(trees):
    return jax.tree.map(lambda *x: jnp.stack(x), *trees)

  many = stack(params)
  state = jax.vmap(functools.partial(_first, tx))(many, values)
  for t in range(3):
    run = jax.vmap(functools.partial(tx.update, **extra))
    updates, state = jit(run)(stack([g[t] for g in gradients]), state, many)
    many = optax.apply_updates(many, updates)
  for i in range(2):
    found, single = play(tx, gradients[i], params[i], _first(tx, params[i], values[i]), **extra)
    assert_close(jax.tree.map(lambda x, i=i: x[i], updates), found[-1], atol=1e-6)
    assert_close(jax.tree.map(lambda x, i=i: x[i], state), single, atol=1e-5)


@every_kind
def test_shapes_are_known_without_numbers(kind):
  tx, extra = _made(kind)
  abstract = jax.eval_shape(lambda: PARAMS)
  state = jax.eval_shape(tx.init, abstract)
  assert shapes_and_types(state) == shapes_and_types(tx.init(PARAMS))
  updates, after = jax.eval_shape(functools.partial(tx.update, **extra), abstract, state, abstract)
  assert shapes_and_types(updates) == shapes_and_types(PARAMS)
  assert shapes_and_types(after) == shapes_and_types(state)


@every_kind
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_later_steps_trace_nothing_and_types_stay(kind, dtype):
  tx, extra = _made(kind)
  params, traces = jax.tree.map(lambda x: x.astype(dtype), PARAMS), []

  @jit
  def update(g, state, params):
    traces.append(0)
    return tx.update(g, state, params, **extra)

  state = tx.init(params)
  for i, g in enumerate(gradients_like(params, 3)):
    updates, state = update(g, set_multipliers(state, [1.0, 0.1 * i]), params)
    assert shapes_and_types(updates) == shapes_and_types(params)
    params = optax.apply_updates(params, updates)
  assert len(traces) == 1


@every_kind
def test_a_fresh_state_may_be_donated(kind):
  tx, extra = _made(kind)
  update = jit(functools.partial(tx.update, **extra), donate_argnums=1)
  found, state = update(GRADIENTS[0], tx.init(PARAMS), PARAMS)
  expected, _ = play(tx, GRADIENTS[:1], PARAMS, **extra)
  assert_close(found, expected[0])
  update(GRADIENTS[1], state, PARAMS)
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(tx.init(PARAMS)))


@every_kind
def test_unknown_extra_arguments_are_ignored(kind):
  tx, extra = _made(kind)
  assert isinstance(tx, optax.GradientTransformationExtraArgs)
  found = play(tx, GRADIENTS[:2], PARAMS, value=jnp.float32(3.0), unknown={"a": jnp.ones(2)}, **extra)
  assert_close(found, play(tx, GRADIENTS[:2], PARAMS, **extra))


@every_kind
def test_in_a_chain_it_sees_clipped_gradients(kind):
  tx, extra = _made(kind)
  chained = optax.chain(optax.clip_by_global_norm(0.5), tx, optax.scale(2.0))
  found, _ = play(chained, GRADIENTS[:1], PARAMS, **extra)
  norm = np.sqrt(sum(float(jnp.sum(x * x)) for x in jax.tree.leaves(GRADIENTS[0])))
  assert norm > 0.5
  clipped = jax.tree.map(lambda x: x * (0.5 / norm), GRADIENTS[0])
  expected, _ = tx.update(clipped, tx.init(PARAMS), PARAMS, **extra)
  assert_close(found[0], jax.tree.map(lambda x: 2.0 * x, expected))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "layerwise_policy"])
def test_multi_steps_averages_gradients(kind):
  """(The controller would see the loss of the last part of the batch.)"""
  tx, _ = _made(kind)
  found, _ = play(optax.MultiSteps(tx, 2), GRADIENTS, PARAMS, compiled=True)
  means = [jax.tree.map(lambda a, b: (a + b) / 2, *GRADIENTS[i : i + 2]) for i in (0, 2)]
  expected, _ = play(tx, means, PARAMS)
  zeros = jax.tree.map(jnp.zeros_like, PARAMS)
  assert_close(found, [zeros, expected[0], zeros, expected[1]])


@every_kind
def test_apply_if_finite_leaves_out_a_bad_step(kind):
  tx, extra = _made(kind)
  spoiled = {**GRADIENTS[1], "b": GRADIENTS[1]["b"].at[1].set(jnp.nan)}
  given = [GRADIENTS[0], spoiled, GRADIENTS[2]]
  found, state = play(optax.apply_if_finite(tx, 3), given, PARAMS, compiled=True, **extra)
  expected, inner = play(tx, [GRADIENTS[0], GRADIENTS[2]], PARAMS, **extra)
  assert_close(found, [expected[0], jax.tree.map(jnp.zeros_like, PARAMS), expected[1]])
  assert_close(state.inner_state, inner)


def test_partition_and_mask_give_the_subtree_alone():
  labels = group_by_pattern({"w": "w$"})
  tx = velocity_sgd(0.1, scale_by_group(labels))
  alone, _ = play(tx, [{"layer": g["layer"]} for g in GRADIENTS[:2]], {"layer": PARAMS["layer"]})
  split = optax.partition({"grouped": tx, "plain": optax.sgd(0.1)}, {"layer": "grouped", "b": "plain"})
  masked = optax.masked(tx, {"layer": True, "b": False})
  for wrapped, factor in ((split, -0.1), (masked, 1.0)):
    found, _ = play(wrapped, GRADIENTS[:2], PARAMS)
    for updates, expected, g in zip(found, alone, GRADIENTS, strict=False):
      assert_close(updates["layer"], expected["layer"])
      np.testing.assert_allclose(updates["b"], factor * g["b"], rtol=1e-6)


def test_any_tree_keeps_its_structure():
  params = {
    "scalar": jnp.float32(1.0),
    "nothing": jnp.zeros((0, 3)),
    "none": None,
    "mixed": [jnp.ones(3, jnp.bfloat16), (jnp.ones((2, 1, 2), jnp.float16), {})],
  }
  tx = scale_by_group(group_by_pattern({"mixed": "^mixed/", "rest": ""}))
  state = set_multipliers(tx.init(params), [0.5, 0.0])
  updates, _ = tx.update(gradients_like(params, 1)[0], state, params)
  assert jax.tree.structure(updates) == jax.tree.structure(params)
  assert shapes_and_types(updates) == shapes_and_types(params)
