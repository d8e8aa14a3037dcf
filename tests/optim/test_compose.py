"""Learned optimizers compose everywhere: rates, decay, oddness, one graph, forward mode, x64."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from optim.table import (
  DOCUMENTED,
  assert_close,
  every_kind,
  gradients_like,
  jit,
  make,
  play,
  small_params,
  theta_of,
)
from vita_jax.optim import (
  KINDS,
  init_vita_mlp,
  learned,
  load_learned,
  make_odd,
  scale_by_vita_mlp,
  vita_mlp,
  with_rate,
)
from vita_jax.optim import joint as joints
from vita_jax.optim.joint import map_coordinates
from vita_jax.train.weights import save_params

PARAMS = small_params()
GRADIENTS = gradients_like(PARAMS, 3)
MATRICES = ("l2o_dm", "rnnprop", "l2o_mlp", "l2o_scale")  # kinds with products of matrices
WRITTEN_OUT = ("l2o_dm", "rnnprop")  # derivatives of the LSTM, in reverse mode alone


# Oddness.


@every_kind
def test_odd_updates_have_exactly_zero_drift_and_change_sign_with_the_gradient(kind):
  """Whatever other coordinates and tensors see; and after many steps."""
  tx = make(kind, odd=True) if DOCUMENTED[kind].has_odd else make(kind)  # or odd by construction
  seen = [jax.tree.map(lambda x: x, g) for g in GRADIENTS]
  for g in seen:
    g["layer"]["w"] = g["layer"]["w"].at[1].set(0.0)
    g["b"] = jnp.zeros_like(g["b"])
  step = jit(tx.update)
  states, params = [tx.init(PARAMS), tx.init(PARAMS)], PARAMS
  for g in seen * 3:
    updates, states[0] = step(g, states[0], params)
    opposite, states[1] = step(jax.tree.map(jnp.negative, g), states[1], params)
    assert not np.any(updates["b"]) and not np.any(updates["layer"]["w"][1])
    assert np.all(np.asarray(updates["layer"]["w"][0]) != 0)
    assert_close(opposite, jax.tree.map(jnp.negative, updates), rtol=1e-5, atol=1e-9)
    params = optax.apply_updates(params, updates)


def test_an_odd_optimizer_is_half_the_difference_of_two_runs():
  plain, odd = make("rnnprop"), make("rnnprop", odd=True)
  plus, _ = play(plain, GRADIENTS, PARAMS)
  minus, _ = play(plain, [jax.tree.map(jnp.negative, g) for g in GRADIENTS], PARAMS)
  found, _ = play(odd, GRADIENTS, PARAMS)
  expected = [jax.tree.map(lambda a, b: (a - b) / 2, a, b) for a, b in zip(plus, minus, strict=True)]
  assert_close(found, expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("value", ["yes", 1, None])
def test_odd_is_true_or_false(value):
  with pytest.raises(ValueError, match="odd of l2o_dm is .*: it must be True or False"):
    make.__wrapped__("l2o_dm", odd=value)


# The general optimizer.


def test_the_general_optimizer_needs_a_rate_and_steps_by_it(monkeypatch, tmp_path):
  params = {"w": jnp.full((6, 5), 3.0), "b": jnp.ones(7)}
  (g,) = gradients_like(params, 1)
  tx = scale_by_vita_mlp(theta_of("vita_mlp"))
  (direction,), _ = play(tx, [g], params)
  for x in jax.tree.leaves(direction):
    np.testing.assert_allclose(jnp.sqrt(jnp.mean(x * x)), 1.0, rtol=1e-5)
  chained = optax.chain(tx, optax.add_decayed_weights(0.1), optax.scale_by_learning_rate(0.01))
  (found,), _ = play(chained, [g], params)
  assert_close(found, jax.tree.map(lambda d, p: -0.01 * (d + 0.1 * p), direction, params), rtol=1e-4)
  save_params(tmp_path / "params.safetensors", theta_of("vita_mlp"))
  (tmp_path / "config.json").write_text(json.dumps({"config": {"optimizer": {"kind": "vita_mlp"}}}))
  (loaded,), _ = play(load_learned(tmp_path, 0.01, 0.1), [g], params)
  assert_close(loaded, found, rtol=1e-4)
  with pytest.raises(ValueError, match="vita_mlp has no rate of its own: give learning_rate"):
    load_learned(tmp_path)


def test_untrained_the_general_optimizer_goes_as_adam_does_and_lowers_a_loss():
  def loss(x):
    return jnp.sum((x["a"] - 3.0) ** 2) + jnp.sum((x["b"] + 1.0) ** 2)

  tx = vita_mlp(init_vita_mlp(jax.random.key(0)), scale=0.05)

  def step(carry, _):
    x, state = carry
    updates, state = tx.update(jax.grad(loss)(x), state, x)
    return (optax.apply_updates(x, updates), state), loss(x)

  x = {"a": jnp.zeros((3, 4)), "b": jnp.zeros(5)}
  losses = jit(lambda: jax.lax.scan(step, (x, tx.init(x)), None, 200)[1])()
  assert losses[-1] < 0.02 * losses[0]


def test_a_tensor_whose_gradients_have_ended_stops():
  """Steps have one size whatever the gradients: momenta alone would carry a dead layer on for ever."""
  tx, x = vita_mlp(init_vita_mlp(jax.random.key(0)), scale=0.01), jnp.ones((4, 6))
  rng = np.random.default_rng(0)
  noise = [jnp.asarray(rng.normal(size=x.shape), jnp.float32) for _ in range(30)]
  found, _ = play(tx, [*noise, *[jnp.zeros_like(x)] * 120], x, compiled=True)
  sizes = np.array([float(jnp.sqrt(jnp.mean(u * u))) for u in found])
  np.testing.assert_allclose(sizes[:30], 0.01, rtol=1e-4)  # of noise alone, too
  assert sizes[-1] < 1e-5 and sizes[30:].sum() < 30 * 0.01


def test_rows_and_columns_are_those_of_adafactor():
  """At the first step v_ij = rows_i columns_j / mean; its weight alone gives m over the root."""
  theta = jax.tree.map(jnp.zeros_like, theta_of("vita_mlp"))
  theta["linear"]["b"] = theta["linear"]["b"].at[4].set(1.0)
  g = gradients_like(jnp.zeros((2, 3, 4)), 1)[0]
  (found,), _ = play(scale_by_vita_mlp(theta), [g], jnp.ones_like(g))
  square = np.asarray(g) ** 2
  rows, columns = square.mean(-1, keepdims=True), square.mean(-2, keepdims=True)
  expected = np.asarray(g) / np.sqrt(rows * columns / rows.mean(-2, keepdims=True))
  np.testing.assert_allclose(found, expected / np.sqrt(np.mean(expected**2)), rtol=1e-4)


def test_blocks_of_a_large_tensor_give_what_the_whole_gives(monkeypatch):
  tx, g = make("vita_mlp"), jax.random.normal(jax.random.key(0), (8, 1024))
  expected, whole = tx.update(g, tx.init(g), g)
  monkeypatch.setattr(joints, "LARGE", 1024)
  monkeypatch.setattr(joints, "LARGE_BLOCKS", range(1024, 512, -1))
  found, blocks = tx.update(g, tx.init(g), g)
  assert_close((found, blocks), (expected, whole), rtol=1e-6)


# Rate and decay.


def test_learned_takes_a_rate_a_schedule_and_decay():
  def schedule(count):
    return 2.0 / (1.0 + count)

  name, plain = "rnnprop-cl-il", play(learned("rnnprop-cl-il"), GRADIENTS[:1], PARAMS)[0][0]
  for given, factor in ((0.5, 0.5), (schedule, 2.0), (jnp.float32(3.0), 3.0)):
    (found,), _ = play(learned(name, given), GRADIENTS[:1], PARAMS)
    assert_close(found, jax.tree.map(lambda u, f=factor: f * u, plain))
  (found,), _ = play(learned(name, learning_rate=0.5, weight_decay=0.1), GRADIENTS[:1], PARAMS)
  assert_close(found, jax.tree.map(lambda u, p: 0.5 * (u - 0.1 * p), plain, PARAMS))
  assert jax.tree.structure(learned(name).init(PARAMS)) == jax.tree.structure(make("rnnprop").init(PARAMS))
  later = play(learned(name, schedule), GRADIENTS, PARAMS)[0][1]
  frozen = play(learned(name, 0.0), GRADIENTS, PARAMS)[0]
  assert np.any(later["b"]) and not any(np.any(x) for x in jax.tree.leaves(frozen))
  with pytest.raises(ValueError, match="learning_rate is -1"):
    learned(name, -1)
  with pytest.raises(ValueError, match="weight_decay is nan"):
    learned(name, weight_decay=float("nan"))


def test_the_rate_of_a_shipped_optimizer_is_an_injected_hyperparameter():
  tx = optax.inject_hyperparams(learned)("rnnprop-cl-il", learning_rate=lambda count: 1.0 / (1.0 + count))
  found, state = play(tx, GRADIENTS, PARAMS, compiled=True)
  assert {"learning_rate", "weight_decay"} <= set(state.hyperparams)
  expected, _ = play(learned("rnnprop-cl-il", lambda count: 1.0 / (1.0 + count)), GRADIENTS, PARAMS)
  assert_close(found, expected)


def test_a_rate_is_put_around_any_optimizer():
  def loss(x):
    return jnp.sum((x - 3.0) ** 2)

  tx, x = with_rate(optax.sgd(0.1), 0.5, 0.01), jnp.ones(2)
  updates, _ = tx.update(jax.grad(loss)(x), tx.init(x), x)
  np.testing.assert_allclose(updates, 0.5 * (0.4 - 0.01 * x), rtol=1e-6)
  odd = make_odd(optax.sgd(0.1))
  np.testing.assert_allclose(odd.update(x, odd.init(x))[0], -0.1 * x, rtol=1e-6)


# One graph for small leaves.


def _scaled(g, h):
  return 2.0 * g + h[0], h + g[None]


def test_small_leaves_are_one_call_and_give_the_leaves_own_numbers():
  rng = np.random.default_rng(0)
  shapes = {"a": (3, 4), "b": (), "c": (0, 2), "d": (5,), "e": (2, 1, 2)}
  tree = {n: jnp.asarray(rng.normal(size=s), jnp.float32) for n, s in shapes.items()}
  tree["half"] = jnp.ones(3, jnp.bfloat16)
  state = {n: jnp.asarray(rng.normal(size=(2, *x.shape)), jnp.float32) for n, x in tree.items()}
  seen = []

  def fn(g, h):
    seen.append(g.shape)
    return _scaled(g, h)

  found = map_coordinates(fn, 2, tree, state)
  assert sorted(seen) == [(3,), (22,)]
  want = {name: _scaled(x, state[name]) for name, x in tree.items()}
  assert_close(found, tuple({name: pair[i] for name, pair in want.items()} for i in range(2)), rtol=0, atol=0)


@pytest.mark.parametrize(
  ("kind", "operation"), [*((k, "dot_general") for k in MATRICES), ("vita_mlp", "abs")]
)
def test_a_tree_of_sixty_leaves_has_the_graph_of_a_few(kind, operation):
  """A network per leaf took minutes to compile: what only networks do is counted."""
  leaves = {f"{i}": {"w": jnp.ones((2 + i, 3)), "b": jnp.ones(3)} for i in range(30)}
  counts = []
  for params in (leaves["0"], leaves):
    tx = make(kind)
    text = jax.jit(tx.update).lower(params, tx.init(params), params).as_text()
    counts.append(text.count(f".{operation}"))
  assert 0 < counts[1] <= counts[0]


@every_kind
def test_blocks_of_many_leaves_give_what_single_leaves_give(kind, monkeypatch):
  """Means over tensors, too, are those of each leaf by itself, whatever lies between them in a vector."""
  rng = np.random.default_rng(0)
  shapes = [(3, 50), (), (0, 2), (129,), (2, 3, 5), (128,), (7,), (40, 30)]
  params = {f"{i}": jnp.asarray(rng.normal(size=s), jnp.float32) for i, s in enumerate(shapes)}
  gradients = gradients_like(params, 2)
  found = {}
  for name, size in (("blocks", 256), ("vector", 10**6), ("alone", 0)):
    monkeypatch.setattr(joints, "BLOCK", size or 10**6)
    monkeypatch.setattr(joints, "LARGE", 10**9 if size else 0)
    found[name] = play(make(kind), gradients, params)
  for name in ("blocks", "vector"):
    assert_close(found[name], found["alone"], rtol=2e-4, atol=1e-7)


# Other settings of JAX.


@every_kind
def test_forward_mode_is_right_or_refused(kind):
  tx = make(kind)

  def total(size):
    updates, _ = tx.update(jax.tree.map(lambda g: size * g, GRADIENTS[0]), tx.init(PARAMS), PARAMS)
    return optax.tree.sum(updates)

  if kind in WRITTEN_OUT:
    with pytest.raises(TypeError, match="forward-mode"):
      jax.jvp(total, (1.0,), (1.0,))
    assert "jax.jvp" in KINDS[kind].build.__doc__
    return
  _, slope = jit(lambda x: jax.jvp(total, (x,), (1.0,)))(1.0)
  np.testing.assert_allclose(slope, jit(jax.grad(total))(1.0), rtol=1e-3, atol=1e-6)


@every_kind
def test_numbers_of_python_are_parameters(kind):
  params, g = {"a": 1.0, "b": jnp.ones(3)}, {"a": 0.5, "b": jnp.ones(3)}
  (found,), _ = play(make(kind), [g], params)
  arrays = jax.tree.map(jnp.asarray, (g, params))
  (expected,), _ = play(make(kind), [arrays[0]], arrays[1])
  assert_close(found, expected)


@every_kind
def test_nothing_is_promoted_in_rank(kind):
  with jax.numpy_rank_promotion("raise"):
    tx = make(kind)
    jax.eval_shape(lambda: play(tx, GRADIENTS[:2], PARAMS))


@every_kind
def test_64_bits_keep_the_types_of_the_state(kind):
  with jax.enable_x64(True):
    params = jax.tree.map(lambda x: x.astype(jnp.float64), PARAMS)
    for tree in (params, jax.tree.map(lambda x: x.astype(jnp.float32), params)):
      tx = make(kind)
      state = jax.eval_shape(tx.init, tree)
      updates, after = jax.eval_shape(tx.update, tree, state, tree)
      assert {x.dtype for x in jax.tree.leaves(state)} <= {jnp.dtype("float32"), jnp.dtype("int32")}
      for was, now in ((state, after), (tree, updates)):
        assert [x.dtype for x in jax.tree.leaves(was)] == [x.dtype for x in jax.tree.leaves(now)]
