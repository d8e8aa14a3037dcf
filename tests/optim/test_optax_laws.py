"""Learned optimizers are optax transformations like others: the laws that every kind keeps."""

import functools
import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec as P

from optim.table import (
  COORDINATEWISE,
  DOCUMENTED,
  assert_close,
  every_coordinatewise_kind,
  every_kind,
  every_quick_kind,
  gradients_like,
  jit,
  make,
  named,
  play,
  shapes_and_types,
  small_params,
  theta_of,
)
from vita_jax.optim import KINDS, learned

PARAMS = small_params()
GRADIENTS = gradients_like(PARAMS, 4)


def _nbytes(tree):
  return sum(x.nbytes for x in jax.tree.leaves(tree))


# Under JAX's own transformations.


@every_kind
def test_jit_and_scan_give_the_loop_without_jit(kind):
  tx = make(kind)
  state, params, expected = tx.init(PARAMS), PARAMS, []
  for g in GRADIENTS[:2]:
    updates, state = tx.update(g, state, params)
    params = optax.apply_updates(params, updates)
    expected.append(updates)
  found, jitted_state = play(tx, GRADIENTS[:2], PARAMS, compiled=True)
  assert_close(found, expected)
  assert_close(jitted_state, state)

  def step(carry, g):
    params, state = carry
    updates, state = tx.update(g, state, params)
    return (optax.apply_updates(params, updates), state), updates

  stacked = jax.tree.map(lambda *x: jnp.stack(x), *GRADIENTS[:2])
  carry, scanned = jax.lax.scan(step, (PARAMS, tx.init(PARAMS)), stacked)
  assert_close(scanned, jax.tree.map(lambda *x: jnp.stack(x), *expected))
  assert_close(carry, (params, state))


@every_quick_kind
def test_vmap_gives_the_single_runs(kind):
  tx = make(kind)
  params = [small_params(seed) for seed in (1, 2, 3)]
  gradients = [gradients_like(p, 2, seed=i) for i, p in enumerate(params)]

  def stack(trees):
    return jax.tree.map(lambda *x: jnp.stack(x), *trees)

  many, state = stack(params), jax.vmap(tx.init)(stack(params))
  for t in range(2):
    updates, state = jit(jax.vmap(tx.update))(stack([g[t] for g in gradients]), state, many)
    many = optax.apply_updates(many, updates)
  for i in range(3):
    found, single = play(tx, gradients[i], params[i])
    assert_close(jax.tree.map(lambda x, i=i: x[i], updates), found[-1], atol=1e-6)
    assert_close(jax.tree.map(lambda x, i=i: x[i], state), single, atol=1e-5)


@every_kind
def test_shapes_are_known_without_numbers(kind):
  tx = make(kind)
  abstract = jax.eval_shape(lambda: PARAMS)
  state = jax.eval_shape(tx.init, abstract)
  assert shapes_and_types(state) == shapes_and_types(tx.init(PARAMS))
  # Shapes alone suffice, outside of eval_shape too.
  assert shapes_and_types(tx.init(abstract)) == shapes_and_types(state)
  updates, after = jax.eval_shape(tx.update, abstract, state, abstract)
  assert shapes_and_types(updates) == shapes_and_types(PARAMS)
  assert shapes_and_types(after) == shapes_and_types(state)


@every_quick_kind
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_later_steps_trace_nothing(kind, dtype):
  options = {"state_dtype": dtype} if DOCUMENTED[kind].has_state_dtype else {}
  tx, traces = make(kind, **options), []
  params = jax.tree.map(lambda x: x.astype(dtype), PARAMS)

  @jit
  def update(g, state, params):
    traces.append(0)
    return tx.update(g, state, params)

  state = tx.init(params)
  for g in gradients_like(params, 3):
    updates, state = update(g, state, params)
    params = optax.apply_updates(params, updates)
  assert len(traces) == 1


@every_kind
def test_every_weight_has_a_meta_gradient(kind):
  weights = jax.tree.map(lambda x: np.random.default_rng(5).normal(size=x.shape), PARAMS)

  def total(theta):
    tx = KINDS[kind].build(theta)
    state, found = tx.init(PARAMS), 0.0
    for g in GRADIENTS[:3]:
      updates, state = tx.update(g, state, PARAMS)
      found += optax.tree.vdot(updates, weights)
    return found

  for name, gradient in named(jit(jax.grad(total))(theta_of(kind))).items():
    assert np.isfinite(gradient).all() and np.any(np.asarray(gradient) != 0), name


@every_quick_kind
@pytest.mark.parametrize("size", [1.0, 0.0])
def test_second_derivatives_are_finite_even_at_zero(kind, size):
  """Whoever differentiates through the gradients gets numbers, not the root's infinite slope at zero."""
  tx = make(kind)

  def total(gradients):
    first, state = tx.update(gradients, tx.init(PARAMS), PARAMS)
    second, _ = tx.update(gradients, state, PARAMS)
    return optax.tree.sum(first) + optax.tree.sum(second)

  slopes = jit(jax.grad(total))(jax.tree.map(lambda g: size * g, GRADIENTS[0]))
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(slopes))
  if size or kind != "vita_mlp":  # where the scale of gradients does not matter, there is no slope at zero
    assert any(np.any(x) for x in jax.tree.leaves(slopes))


# Among other transformations.


@every_quick_kind
def test_in_a_chain_it_sees_clipped_gradients(kind):
  tx = make(kind)
  chained = optax.chain(optax.clip_by_global_norm(0.5), tx, optax.scale(2.0))
  found, state = play(chained, GRADIENTS[:2], PARAMS)
  update, inner, params = tx.update, tx.init(PARAMS), PARAMS
  for g, updates in zip(GRADIENTS[:2], found, strict=True):
    norm = np.sqrt(sum(float(jnp.sum(x * x)) for x in jax.tree.leaves(g)))
    assert norm > 0.5
    expected, inner = update(jax.tree.map(lambda x, n=norm: x * (0.5 / n), g), inner, params)
    assert_close(updates, jax.tree.map(lambda x: 2.0 * x, expected))
    params = optax.apply_updates(params, updates)
  assert_close(state[1], inner)


@every_quick_kind
def test_partition_and_mask_give_the_subtree_alone(kind):
  tx = make(kind)
  labels = {"layer": "learned", "b": "plain"}
  alone, _ = play(tx, [{"layer": g["layer"]} for g in GRADIENTS[:2]], {"layer": PARAMS["layer"]})
  split = optax.partition({"learned": tx, "plain": optax.sgd(0.1)}, labels)
  masked = optax.masked(tx, {"layer": True, "b": False})
  for wrapped, factor in ((split, -0.1), (masked, 1.0)):
    found, _ = play(wrapped, GRADIENTS[:2], PARAMS)
    for updates, expected, g in zip(found, alone, GRADIENTS, strict=False):
      assert_close(updates["layer"], expected["layer"])
      np.testing.assert_allclose(updates["b"], factor * g["b"], rtol=1e-6)


@functools.cache
def _injected(kind):
  return optax.inject_hyperparams(KINDS[kind].build)(theta_of(kind))


@pytest.mark.parametrize("kind, option", [(k, o) for k, d in DOCUMENTED.items() for o in d.options])
def test_float_options_may_be_injected_hyperparameters(kind, option):
  """No default of a builder is callable, which optax would take for a schedule."""
  value = {"scale": 0.02, "beta1": 0.8, "beta2": 0.8, "eps": 0.1, "step_scale": 0.01, "magnitude_scale": 0.5}
  tx = _injected(kind)
  state = tx.init(PARAMS)
  assert set(state.hyperparams) == set(DOCUMENTED[kind].options)
  with_default, _ = play(tx, GRADIENTS[:2], PARAMS, state)
  assert_close(with_default, play(make(kind), GRADIENTS[:2], PARAMS)[0])
  state.hyperparams[option] = jnp.float32(value[option])
  found, _ = play(tx, GRADIENTS[:2], PARAMS, state)
  assert_close(found, play(make(kind, **{option: value[option]}), GRADIENTS[:2], PARAMS)[0])
  with pytest.raises(AssertionError):
    assert_close(found, with_default)


@pytest.mark.parametrize(
  "inject",
  [
    lambda value: optax.inject_hyperparams(KINDS["rnnprop"].build)(theta_of("rnnprop"), scale=value),
    lambda value: optax.inject_hyperparams(KINDS["rnnprop"].build)(theta=theta_of("rnnprop"), scale=value),
    lambda value: optax.inject_hyperparams(functools.partial(KINDS["rnnprop"].build, theta_of("rnnprop")))(
      scale=value
    ),
    lambda value: optax.inject_hyperparams(KINDS["rnnprop"].build, static_args="theta")(
      theta_of("rnnprop"), scale=value, state_dtype="float32"
    ),
  ],
  ids=["positional", "named", "partial", "static"],
)
def test_a_schedule_of_the_scale_in_every_natural_form(inject):

  def schedule(count):
    return 0.3 / (1.0 + count)

  scheduled, fixed = (play(inject(value), GRADIENTS[:3], PARAMS)[0] for value in (schedule, 0.3))
  (expected, *_) = play(make("rnnprop", scale=0.3), GRADIENTS[:1], PARAMS)[0]
  assert_close(scheduled[0], expected)
  for t, (found, other) in enumerate(zip(scheduled, fixed, strict=True)):
    assert_close(found, jax.tree.map(lambda x, t=t: x / (1.0 + t), other))


def test_a_shipped_optimizer_may_have_a_schedule():
  for inject in (
    optax.inject_hyperparams(learned)("rnnprop-cl-il", scale=lambda count: 0.02),
    optax.inject_hyperparams(functools.partial(learned, "rnnprop-cl-il"))(scale=0.02),
  ):
    state = inject.init(PARAMS)
    assert set(state.hyperparams) == {"scale", "learning_rate", "weight_decay"}
    assert_close(
      play(inject, GRADIENTS[:2], PARAMS)[0],
      play(learned("rnnprop-cl-il", scale=0.02), GRADIENTS[:2], PARAMS)[0],
    )


def test_a_type_that_is_taken_for_a_schedule_is_refused_in_one_line():
  inject = optax.inject_hyperparams(KINDS["l2o_dm"].build)
  with pytest.raises(ValueError, match="state_dtype .* give the name of a float type, e.g. 'bfloat16'"):
    inject(theta_of("l2o_dm"), state_dtype=jnp.bfloat16).init(PARAMS)
  assert (
    inject(theta_of("l2o_dm"), state_dtype="bfloat16").init(PARAMS).inner_state.h1["b"].dtype == jnp.bfloat16
  )


@every_kind
def test_complex_parameters_are_refused_by_name(kind):
  params = {"a": jnp.array([1.0 + 2.0j, -0.5 - 1.0j]), "b": jnp.ones(3)}
  with pytest.raises(ValueError, match=r"parameter 'a' is complex \(complex64\): .*split_real_and_imaginary"):
    make(kind).init(params)


@every_kind
@pytest.mark.parametrize("dtype", [jnp.int32, jnp.uint8, jnp.bool_])
def test_parameters_that_no_step_can_move_are_refused_by_name(kind, dtype):
  params = {"layer": {"w": jnp.ones(3), "table": jnp.ones(4, dtype)}}
  for init in (make(kind).init, jax.jit(make(kind).init)):
    with pytest.raises(ValueError, match=f"parameter 'layer/table' is of dtype {jnp.dtype(dtype)}, .*{kind}"):
      init(params)
  masked = optax.partition(
    {"move": make(kind), "keep": optax.set_to_zero()}, {"layer": {"w": "move", "table": "keep"}}
  )
  assert masked.init(params)


NUMBERS = {
  **dict.fromkeys(
    ("scale", "step_scale", "magnitude_scale"), (-1, np.nan, np.inf, True, "0.1", None, [0.1, 0.2])
  ),
  **dict.fromkeys(("beta1", "beta2"), (-0.1, 1.0, 1.5, np.nan)),
  "eps": (0.0, -1e-8, np.nan),
}


@every_kind
def test_numbers_that_cannot_be_are_refused_by_name(kind):
  for name in DOCUMENTED[kind].options:
    for value in NUMBERS[name]:
      with pytest.raises(ValueError, match=f"^{name} of {kind} is .*: it must be a finite number"):
        make.__wrapped__(kind, **{name: value})
    assert make.__wrapped__(kind, **{name: np.float32(0.5)}) and make.__wrapped__(
      kind, **{name: jnp.bfloat16(0.5)}
    )
    with pytest.raises(ValueError, match="inject_hyperparams for a schedule"):
      make.__wrapped__(kind, **{name: lambda step: 0.1})


def test_shipped_ones_check_their_numbers_too():
  for value in (-1, np.nan):
    with pytest.raises(ValueError, match="scale of l2o_dm is"):
      learned("dm", scale=value)


@pytest.mark.parametrize(
  "kind", ["rnnprop", *(pytest.param(k, marks=pytest.mark.slow) for k in KINDS if k != "rnnprop")]
)
def test_complex_parameters_move_in_both_parts_when_split(kind):
  params = {"a": jnp.array([1.0 + 2.0j, -0.5 - 1.0j]), "b": jnp.ones(3)}
  gradients = [{"a": jnp.array([0.3 - 0.7j, 0.2 + 0.4j]) * t, "b": jnp.ones(3)} for t in (1.0, -2.0, 1.5)]
  found, _ = play(optax.contrib.split_real_and_imaginary(make(kind)), gradients, params)
  assert all(np.all(np.asarray(u["a"].real) != 0) and np.all(np.asarray(u["a"].imag) != 0) for u in found)


@every_kind
def test_a_fresh_state_may_be_donated(kind):
  tx = make(kind)
  update = jit(tx.update, donate_argnums=1)
  found, state = update(GRADIENTS[0], tx.init(PARAMS), PARAMS)
  expected, _ = play(tx, GRADIENTS[:1], PARAMS)
  assert_close(found, expected[0])
  found, state = update(GRADIENTS[1], state, PARAMS)
  assert all(np.isfinite(x).all() for x in jax.tree.leaves((found, state)))
  again = tx.init(PARAMS)  # weights of theta were not given away with the state
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(again))


@every_quick_kind
def test_multi_steps_averages_gradients(kind):
  tx = make(kind)
  found, state = play(optax.MultiSteps(tx, 2), GRADIENTS, PARAMS, compiled=True)
  means = [jax.tree.map(lambda a, b: (a + b) / 2, *GRADIENTS[i : i + 2]) for i in (0, 2)]
  expected, inner = play(tx, means, PARAMS)
  zeros = jax.tree.map(jnp.zeros_like, PARAMS)
  assert_close(found, [zeros, expected[0], zeros, expected[1]])
  assert_close(state.inner_opt_state, inner)


@every_quick_kind
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_apply_if_finite_leaves_out_a_bad_step(kind, bad):
  tx = make(kind)
  spoiled = jax.tree.map(lambda x: x, GRADIENTS[1])
  spoiled["layer"]["w"] = spoiled["layer"]["w"].at[1, 2].set(bad)
  given = [GRADIENTS[0], spoiled, GRADIENTS[2]]
  found, state = play(optax.apply_if_finite(tx, 3), given, PARAMS, compiled=True)
  expected, inner = play(tx, [GRADIENTS[0], GRADIENTS[2]], PARAMS)
  assert_close(found, [expected[0], jax.tree.map(jnp.zeros_like, PARAMS), expected[1]])
  assert_close(state.inner_state, inner)


@every_kind
def test_unknown_extra_arguments_are_ignored(kind):
  tx = make(kind)
  assert isinstance(tx, optax.GradientTransformationExtraArgs)
  found = play(tx, GRADIENTS[:2], PARAMS, value=jnp.float32(3.0), unknown={"a": jnp.ones(2)})
  assert_close(found, play(tx, GRADIENTS[:2], PARAMS))


@every_kind
def test_only_the_kind_that_reads_parameters_needs_them(kind):
  tx = make(kind)
  if kind in ("l2o_mlp", "vita_mlp"):
    with pytest.raises(ValueError, match=r"call update\(gradients, state, params\)"):
      tx.update(GRADIENTS[0], tx.init(PARAMS))
  else:
    update = tx.update
    found = update(GRADIENTS[0], tx.init(PARAMS))
    assert_close(found, update(GRADIENTS[0], tx.init(PARAMS), PARAMS))


# Any tree, any type.


@every_kind
def test_any_tree_keeps_its_structure_and_types(kind):
  params = {
    "scalar": jnp.float32(1.0),
    "nothing": jnp.zeros((0, 3)),
    "none": None,
    "mixed": [jnp.ones(3, jnp.bfloat16), (jnp.ones((2, 1, 2), jnp.float16), {})],
  }
  found, state = play(make(kind), gradients_like(params, 3), params, compiled=True)
  for updates in found:
    assert jax.tree.structure(updates) == jax.tree.structure(params)
    assert shapes_and_types(updates) == shapes_and_types(params)
    assert all(np.isfinite(np.asarray(x, np.float32)).all() for x in jax.tree.leaves(updates))
    assert any(np.any(np.asarray(x, np.float32) != 0) for x in jax.tree.leaves(updates))
  assert all(np.isfinite(np.asarray(x, np.float32)).all() for x in jax.tree.leaves(state))


@every_kind
@pytest.mark.parametrize(
  "empty", [{}, (), None, {"a": jnp.zeros((0, 2))}], ids=["dict", "tuple", "none", "size0"]
)
def test_a_tree_without_entries_is_a_tree(kind, empty):
  found, state = play(make(kind), [empty] * 2, empty, compiled=True)
  assert all(jax.tree.structure(updates) == jax.tree.structure(empty) for updates in found)
  assert all(np.isfinite(x).all() for x in jax.tree.leaves((found, state)))


@every_kind
def test_half_precision_is_computed_in_float32(kind):
  """The updates are those for the same numbers in float32, rounded once."""
  tx = make(kind)
  half = jax.tree.map(lambda x: x.astype(jnp.bfloat16), PARAMS)
  whole = jax.tree.map(lambda x: x.astype(jnp.float32), half)
  states = [tx.init(half), tx.init(whole)]
  assert shapes_and_types(states[0]) == shapes_and_types(states[1])
  for g in gradients_like(half, 3):
    found, states[0] = tx.update(g, states[0], half)
    full = jax.tree.map(lambda x: x.astype(jnp.float32), g)
    expected, states[1] = tx.update(full, states[1], whole)
    assert_close(found, jax.tree.map(lambda x: x.astype(jnp.bfloat16), expected), rtol=0, atol=0)
  assert_close(*states, rtol=0, atol=0)


# The state.


@every_kind
def test_map_params_reaches_what_is_like_the_parameters(kind):
  tx = make(kind)
  state = tx.init(PARAMS)
  paths = jax.tree_util.tree_map_with_path(lambda p, _: jax.tree_util.keystr(p), PARAMS)
  reached = named(
    optax.tree.map_params(tx, lambda _, path: path, state, paths, transform_non_params=lambda _: "")
  )
  assert reached.keys() == named(state).keys()
  expected_out = {"l2o_dm": set(), "l2o_scale": {"count", "h_problem"}}.get(kind, {"count"})
  for name, path in reached.items():
    field, *rest = name.split("/")
    assert (field in expected_out) == (path == ""), name
    assert path == "".join(f"['{part}']" for part in rest), name


@every_kind
def test_the_state_has_the_documented_numbers_per_coordinate(kind):
  said = DOCUMENTED[kind]
  tx = make(kind)
  sizes = {"w": (40, 7), "b": (7,), "s": ()}
  state = jax.eval_shape(tx.init, {k: jax.ShapeDtypeStruct(v, jnp.bfloat16) for k, v in sizes.items()})
  floats = [x for x in jax.tree.leaves(state) if x.dtype == jnp.float32]
  others = [x for x in jax.tree.leaves(state) if x.dtype != jnp.float32]
  assert [(x.shape, x.dtype) for x in others] == [((), jnp.int32)] * len(others) and len(others) <= 1
  n = 40 * 7 + 7 + 1
  expected = n * said.per_coordinate + 3 * said.per_tensor + said.per_problem
  expected += (40 + 7 + 2 * 2) * said.has_statistics  # scalars for what has no rows
  assert sum(x.size for x in floats) == expected
  _, after = play(tx, GRADIENTS[:1], PARAMS)
  assert shapes_and_types(after) == shapes_and_types(tx.init(PARAMS))


@pytest.mark.parametrize("kind", [k for k, d in DOCUMENTED.items() if d.has_state_dtype])
@pytest.mark.parametrize("dtype", [jnp.bfloat16, "bfloat16"], ids=["type", "name"])
def test_a_bfloat16_state_takes_half_and_gives_nearly_the_same(kind, dtype):
  whole, half = make(kind), make(kind, state_dtype=dtype)
  found, state = play(half, GRADIENTS, PARAMS)
  expected, full = play(whole, GRADIENTS, PARAMS)
  counts = 0 if kind == "l2o_dm" else 4
  if DOCUMENTED[kind].has_statistics:  # which stay in float32
    counts += 4 * (3 + 4 + 2)
  for mine, full_one in ((half.init(PARAMS), whole.init(PARAMS)), (state, full)):
    assert _nbytes(mine) - counts == (_nbytes(full_one) - counts) / 2
  size = max(float(jnp.abs(x).max()) for x in jax.tree.leaves(expected))
  assert_close(found, expected, rtol=0.02, atol=0.02 * size)


@every_kind
def test_nothing_learned_is_in_the_state(kind):
  """What a kind with a learned start reads from theta is where it begins, not what it needs later on."""
  states, later = [], []
  for seed in (0, 1):
    tx = make(kind, seed)
    states.append(tx.init(PARAMS))
    later.append(play(tx, GRADIENTS[:1], PARAMS)[1])
  assert shapes_and_types(states[0]) == shapes_and_types(states[1])
  assert _nbytes(later[0]) == _nbytes(states[0]) == _nbytes(states[1])
  same = {n: np.array_equal(x, named(states[1])[n]) for n, x in named(states[0]).items()}
  if not KINDS[kind].learns_start:
    assert all(same.values())
    assert not any(np.any(x) for x in jax.tree.leaves(states[0]))
    return
  from_theta = {"h_problem", "h_tensor", "h_coordinate", "input_decay", "scale_decay"}
  assert {name.split("/")[0] for name, equal in same.items() if not equal} == from_theta
  theta = theta_of(kind)
  np.testing.assert_array_equal(states[0].h_problem, theta["h_problem"])
  for name, x in named(PARAMS).items():
    np.testing.assert_array_equal(named(states[0].h_tensor)[name], theta["h_tensor"])
    spread = theta["h_coordinate"].reshape(10, *(1,) * x.ndim) * np.ones(x.shape, np.float32)
    np.testing.assert_array_equal(named(states[0].h_coordinate)[name], spread)
    for decay in ("input_decay", "scale_decay"):
      first = jax.nn.sigmoid(theta[decay]["b"][0])
      np.testing.assert_allclose(named(getattr(states[0], decay))[name], np.full(x.shape, first), rtol=1e-6)


def test_the_first_rates_of_l2o_scale_follow_its_key():
  build, theta = KINDS["l2o_scale"].build, theta_of("l2o_scale")
  keys = (None, jax.random.key(0), jax.random.key(1))
  first = [build(theta, key=key).init(PARAMS).log_rate for key in keys]
  assert_close(first[0], first[1], rtol=0, atol=0)
  assert not any(np.array_equal(x, y) for x, y in zip(*map(jax.tree.leaves, first[1:]), strict=True))
  rates = make("l2o_scale").init({"a": jnp.zeros(20_000), "b": jnp.zeros(20_000)}).log_rate
  for x in jax.tree.leaves(rates):
    # A draw of the tensor plus draws of its coordinates, each between ln(1e-6)/2 and ln(1e-2)/2.
    low, high = 0.5 * np.log(1e-6), 0.5 * np.log(1e-2)
    assert 2 * low <= x.min() and x.max() <= 2 * high
    np.testing.assert_allclose(x.max() - x.min(), high - low, rtol=0.01)
  assert abs(float(rates["a"].mean() - rates["b"].mean())) > 0.01


# What coordinates see of each other.


@every_quick_kind
def test_a_nan_gradient_is_not_hidden_and_spoils_no_more_than_it_must(kind):
  tx = make(kind)
  spoiled = jax.tree.map(lambda x: x, GRADIENTS[0])
  spoiled["layer"]["w"] = spoiled["layer"]["w"].at[1, 2].set(np.nan)
  found, _ = play(tx, [spoiled, *GRADIENTS[1:3]], PARAMS)
  expected, _ = play(tx, GRADIENTS[:3], PARAMS)
  for updates, clean in zip(found, expected, strict=True):
    w = np.asarray(updates["layer"]["w"])
    assert np.isnan(w[1, 2])
    if kind in COORDINATEWISE:
      others = np.arange(12).reshape(3, 4) != 6
      np.testing.assert_array_equal(w[others], np.asarray(clean["layer"]["w"])[others])
    if kind != "l2o_scale":  # of which the global layer sees all tensors
      np.testing.assert_allclose(updates["b"], clean["b"], rtol=1e-6)


@every_coordinatewise_kind
def test_one_vector_of_all_parameters_gives_the_updates_of_the_leaves(kind):
  tx = make(kind)
  flat, unravel = jax.flatten_util.ravel_pytree(PARAMS)
  found, _ = play(tx, [jax.flatten_util.ravel_pytree(g)[0] for g in GRADIENTS], flat)
  expected, _ = play(tx, GRADIENTS, PARAMS)
  assert_close([unravel(x) for x in found], expected, rtol=0, atol=1e-6)


@every_coordinatewise_kind
def test_coordinates_in_another_order_move_the_same(kind):
  tx = make(kind)
  order = np.random.default_rng(1).permutation(50)
  gradients = gradients_like(jnp.zeros(50), 4, spread=3.0)
  found, _ = play(tx, [g[order] for g in gradients], jnp.zeros(50))
  expected, _ = play(tx, gradients, jnp.zeros(50))
  assert_close(found, [x[order] for x in expected], rtol=0, atol=1e-7)


@pytest.mark.parametrize(
  "kind, invariant", [("rnnprop", True), ("l2o_scale", True), ("vita_mlp", True), ("l2o_dm", False)]
)
def test_who_minds_a_loss_a_thousand_times_as_large(kind, invariant):
  tx = make(kind)
  found, _ = play(tx, [jax.tree.map(lambda x: 1000.0 * x, g) for g in GRADIENTS], PARAMS)
  expected, _ = play(tx, GRADIENTS, PARAMS)
  if invariant:
    assert_close(found, expected, rtol=1e-3, atol=1e-7)
    return
  change = [
    np.abs(x - y).mean() / np.abs(y).mean()
    for x, y in zip(*map(jax.tree.leaves, (found, expected)), strict=True)
  ]
  assert min(change) > 0.02


@pytest.fixture(scope="module")
def on_two_devices(tmp_path_factory):
  """What two_devices.py reports."""
  out = tmp_path_factory.mktemp("devices") / "found.json"
  command = [sys.executable, Path(__file__).parent / "two_devices.py", str(out)]
  done = subprocess.run(command, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr[-2000:]
  return json.loads(out.read_text())


@every_kind
def test_two_devices_compute_what_one_does(kind, on_two_devices):
  assert on_two_devices[kind]["largest difference"] < 1e-6
  assert on_two_devices[kind]["largest update"] > 5e-5


@every_kind
@pytest.mark.parametrize("when", ["eager", "jit", "later"])
def test_state_leaves_lie_where_their_parameter_lies(kind, when, on_two_devices):
  """From `init` on. Features lead: behind them the axes are those of the parameter, with its sharding."""
  found = on_two_devices[kind]["shardings"][when]
  said = {"w": (None, "model"), "b": ("model",), "s": ()}
  like = {
    name: spec
    for name, spec in found.items()
    if name.split("/")[-1] in said and name.split("/")[0] not in ("h_tensor", "rows", "columns")
  }
  assert like
  for name, (spec, ndim) in like.items():
    own = said[name.split("/")[-1]]
    assert P(*spec) == P(*(None,) * (ndim - len(own)), *own) or (not any(own) and not any(spec)), name


@every_kind
def test_explicit_axes_give_the_same_updates(kind, on_two_devices):
  found = on_two_devices[kind]["explicit"]
  assert isinstance(found, float) and found < 1e-6, found


@every_kind
def test_inside_shard_map_updates_are_the_same_or_refused(kind, on_two_devices):
  found = on_two_devices[kind]["shard_map"]
  if kind in COORDINATEWISE:
    assert isinstance(found, float) and found < 1e-6, found
  else:  # means over parts of tensors would be other numbers
    assert found.startswith(f"ValueError: {kind} takes means over whole tensors") and "along model" in found


@every_kind
def test_inside_shard_map_means_are_taken_over_axes_that_are_named(kind, on_two_devices):
  found = on_two_devices[kind]["named axes"]
  assert isinstance(found, float) and found < 1e-6, found


@every_kind
def test_coordinate_wise_updates_do_not_communicate(kind, on_two_devices):
  """The others take means over tensors: what is looked for would be found."""
  assert bool(on_two_devices[kind]["collectives"]) == (kind not in COORDINATEWISE)
