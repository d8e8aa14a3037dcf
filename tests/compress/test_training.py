"""Masked weights stay exactly zero: under every optimizer, from any moment, after a resume, in any loop."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx, serialization
from flax.training.train_state import TrainState

from vita_jax import compress

NAMED = (
  "adabelief adadelta adafactor adagrad adam adamax adamaxw adamw adan amsgrad fromage lamb lars lion nadam"
  " nadamw noisy_sgd novograd optimistic_adam_v2 optimistic_gradient_descent radam rmsprop rprop sgd sign_sgd"
  " sm3 yogi"
).split()
CONTRIB = (
  "acprop ademamix cocob dadapt_adamw dog dowg muon prodigy schedule_free_adamw schedule_free_sgd".split()
)
MORE = {
  "adafactor_factored": functools.partial(optax.adafactor, 0.01, min_dim_size_to_factor=2),
  "adamw_decay": functools.partial(optax.adamw, 0.01, weight_decay=0.3),
  "momentum": functools.partial(optax.sgd, 0.01, momentum=0.9, nesterov=True),
  "lion_decay": functools.partial(optax.lion, 0.01, weight_decay=0.3),
  "centred": functools.partial(optax.rmsprop, 0.01, centered=True, momentum=0.9),
  "noisy_sgd": functools.partial(optax.noisy_sgd, 0.01, key=0),
  "noise": lambda: optax.chain(optax.add_noise(0.1, 0.55, 0), optax.adam(0.01)),
  "several_steps": lambda: optax.MultiSteps(optax.adamw(0.01), 3).gradient_transformation(),
  "injected": lambda: optax.inject_hyperparams(optax.adamw)(learning_rate=0.01),
  "clipped_decay": lambda: optax.chain(
    optax.clip_by_global_norm(0.1),
    optax.adamw(0.01),
    optax.add_decayed_weights(0.1),
    optax.keep_params_nonnegative(),
  ),
  "history": lambda: optax.scale_by_lbfgs(memory_size=3),
}


FREE = ("cocob", "dadapt_adamw", "dog", "dowg", "prodigy")  # of a learning rate
USUAL = (
  "adafactor adafactor_factored adam adamw_decay lamb lion_decay momentum muon noisy_sgd schedule_free_adamw"
)


def _optimizers():
  found = {name: functools.partial(getattr(optax, name), 0.01) for name in NAMED if hasattr(optax, name)}
  for name in CONTRIB:
    if hasattr(optax.contrib, name):
      found[name] = functools.partial(getattr(optax.contrib, name), *(() if name in FREE else (0.01,)))
  return found | MORE


OPTIMIZERS = _optimizers()
ROWS = [
  pytest.param(name, marks=() if name in USUAL.split() else pytest.mark.slow) for name in sorted(OPTIMIZERS)
]


@pytest.fixture(scope="module")
def params():
  rng = np.random.default_rng(0)

  def draw(*shape):
    return jnp.asarray(rng.normal(size=shape), jnp.float32)

  return {"first": {"kernel": draw(4, 6), "bias": draw(6)}, "last": {"kernel": draw(6, 2)}, "kernel": draw(3)}


@pytest.fixture(scope="module")
def masks(params):
  return compress.magnitude_masks(params, 0.5, select=r"(^|/)kernel$")


def _loss(params, t):
  leaves = jax.tree.leaves(params)
  return sum(jnp.sum(jnp.sin(3 * x + t) + 0.1 * x**2) for x in leaves)


def _scan(tx, params, state, n, start):
  def step(carry, t):
    params, state = carry
    grads = jax.grad(_loss)(params, t.astype(jnp.float32))
    updates, state = tx.update(grads, state, params)
    params = optax.apply_updates(params, updates)
    return (params, state), params

  return jax.lax.scan(step, (params, state), start + jnp.arange(n))


@functools.partial(jax.jit, static_argnames=("tx", "n"))
def _steps(tx, params, state, n, start=0):
  """n steps; returns (params, state) at the end, and the params after each."""
  return _scan(tx, params, state, n, start)


@functools.partial(jax.jit, static_argnames=("plain", "masked"))
def _steps_of_both(plain, masked, params):
  """Six steps of the plain optimizer, six of the masked one with its state: what both end with."""
  before, _ = _scan(plain, params, plain.init(params), 6, 0)
  return before, _scan(masked, *before, 6, 6)


def _gone(params, masks):
  """The largest masked weight, in magnitude; NaN where there is one."""
  leaves = compress.chosen(params, r"(^|/)kernel$")
  return max(
    float(np.abs(np.asarray(leaves[n])[..., ~np.asarray(m)]).max(initial=0)) for n, m in masks.items()
  )


@pytest.mark.parametrize("name", ROWS)
def test_masked_weights_are_zero_after_every_step(name, params, masks):
  """Masks taken in mid-training: the state of the plain optimizer is used further, moments, noise and all."""
  plain = OPTIMIZERS[name]()
  # Weights are not zeroed before: the first update does it.
  both = _steps_of_both(plain, compress.masked(plain, masks), params)
  (trained, state), ((end, last), all_params) = both
  assert _gone(all_params, masks) == 0.0
  assert jax.tree.structure(last) == jax.tree.structure(state)
  kept = compress.chosen(end, r"(^|/)kernel$")
  before = compress.chosen(trained, r"(^|/)kernel$")
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(end))
  moved = [(np.asarray(kept[n]) != np.asarray(before[n]))[np.asarray(m)].any() for n, m in masks.items()]
  assert any(moved) and (end["first"]["bias"] != trained["first"]["bias"]).any()
  # The state of a masked weight is zero as well, wherever it has the weight's shape.
  names = {"first/kernel", "last/kernel", "kernel"}
  for path, leaf in jax.tree_util.tree_leaves_with_path(last):
    parts = jax.tree_util.keystr(path, simple=True, separator="/").split("/")
    own = next((e for i in range(len(parts)) if (e := "/".join(parts[i:])) in names), None)
    if own and jnp.shape(leaf)[-masks[own].ndim :] == masks[own].shape:
      assert not np.asarray(leaf)[..., ~np.asarray(masks[own])].any(), path


def test_it_is_needed(params, masks):
  """What zeroed gradients alone do: the numbers that the promise "zeros stay zeros" was wrong by."""
  found = {}
  for name in ("adam", "muon", "noise"):
    plain = OPTIMIZERS[name]()
    (trained, state), _ = _steps(plain, params, plain.init(params), 30)
    start = compress.apply_masks(trained, masks)
    chain = optax.chain(compress.mask_gradients(), plain)
    update = jax.jit(lambda g, s, p, chain=chain: chain.update(g, s, p, masks=masks))
    updates, _ = update(jax.grad(_loss)(start, 0.0), (optax.EmptyState(), state), start)
    found[name] = _gone(optax.apply_updates(start, updates), masks)
  assert all(value > 1e-3 for value in found.values()), found


def test_kept_weights_train_as_they_would_alone(params, masks):
  """Beside a weight that is masked, Adam with decay moves the others as in a tree without it."""
  plain = optax.adamw(0.01, weight_decay=0.1)
  tx = compress.masked(plain, masks)
  (end, _), _ = _steps(tx, params, tx.init(params), 20)
  start = compress.apply_masks(params, masks)
  (free, _), _ = _steps(plain, start, plain.init(start), 20)
  for name, x in compress.chosen(end, ".").items():
    keep = np.asarray(masks[name]) if name in masks else slice(None)
    np.testing.assert_allclose(x[keep], compress.chosen(free, ".")[name][keep], atol=1e-6, err_msg=name)


def test_a_resumed_run_continues_bit_for_bit(params, masks):
  tx = compress.masked(optax.adamw(0.01, weight_decay=0.1), masks)
  (whole, _), _ = _steps(tx, params, tx.init(params), 12)
  (half, state), _ = _steps(tx, params, tx.init(params), 5)
  saved = serialization.to_bytes((half, state))
  again, state = serialization.from_bytes((params, tx.init(params)), saved)
  (end, _), all_params = _steps(tx, again, state, 7, 5)
  jax.tree.map(np.testing.assert_array_equal, end, whole)
  assert _gone(all_params, masks) == 0.0


def test_masks_may_change_from_step_to_step(params, masks):
  tx = compress.masked(optax.adam(0.01))
  state, now = tx.init(params), params
  update = jax.jit(lambda g, s, p, m: tx.update(g, s, p, masks=m))
  sparser = compress.magnitude_masks(params, 0.8, select=r"(^|/)kernel$", masks=masks)
  for chosen in (masks, masks, sparser, sparser):
    updates, state = update(jax.grad(_loss)(now, 1.0), state, now, chosen)
    now = optax.apply_updates(now, updates)
    assert _gone(now, chosen) == 0.0
  for arguments in ({}, {"masks": masks, "params": None}):
    with pytest.raises(ValueError, match="update needs"):
      tx.update(params, state, **{"params": params, **arguments})
  with pytest.raises(ValueError, match="the mask of 'elsewhere' has no weights"):
    tx.update(params, state, params, masks={"elsewhere": jnp.ones(3, bool)})


def test_half_precision_updates_take_whole_weights_away():
  weights = {"kernel": jnp.array([1.2345678, 2.0])}
  mask = {"kernel": jnp.array([False, True])}
  low = optax.stateless(lambda updates, params: jax.tree.map(lambda u: u.astype(jnp.bfloat16), updates))
  tx = compress.masked(optax.chain(optax.sgd(0.1), low), mask)
  updates, _ = tx.update({"kernel": jnp.ones(2)}, tx.init(weights), weights)
  assert optax.apply_updates(weights, updates)["kernel"][0] == 0.0


def test_inside_a_train_state(params):
  model = nn.Dense(5)
  x = jax.random.normal(jax.random.key(0), (8, 4))
  weights = model.init(jax.random.key(1), x)["params"]
  masks = compress.magnitude_masks(weights, 0.5)
  tx = compress.masked(optax.adamw(0.01, weight_decay=0.1), masks)
  state = TrainState.create(apply_fn=model.apply, params=weights, tx=tx)
  for _ in range(3):
    grads = jax.grad(lambda p: jnp.sum(model.apply({"params": p}, x) ** 2))(state.params)
    state = state.apply_gradients(grads=grads)
    assert not np.asarray(state.params["kernel"])[~np.asarray(masks["kernel"])].any()


def test_inside_an_nnx_optimizer():
  model = nnx.Linear(4, 5, rngs=nnx.Rngs(0))
  x = jax.random.normal(jax.random.key(0), (8, 4))
  weights = nnx.state(model, nnx.Param)
  masks = compress.magnitude_masks(weights, 0.5, select="kernel")
  (mask,) = masks.values()
  optimizer = nnx.Optimizer(model, compress.masked(optax.adamw(0.01, weight_decay=0.1), masks), wrt=nnx.Param)

  @nnx.jit
  def step(model, optimizer):
    optimizer.update(model, nnx.grad(lambda model: jnp.sum(model(x) ** 2))(model))

  for _ in range(3):
    step(model, optimizer)
    assert not np.asarray(model.kernel[...])[~np.asarray(mask)].any()
  moments = [
    x for x in jax.tree.leaves(nnx.state(optimizer, nnx.optimizer.OptState)) if jnp.shape(x) == (4, 5)
  ]
  assert len(moments) == 2 and not any(np.asarray(m)[~np.asarray(mask)].any() for m in moments)
