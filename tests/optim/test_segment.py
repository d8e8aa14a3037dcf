"""The two-pass meta-gradient against back-propagation through the unrolled segment, and closed forms."""

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

from vita_jax.base import named_leaves
from vita_jax.optim import KINDS, segment
from vita_jax.optim.teachers import teacher

TWO_DEVICES = Path(__file__).parents[1] / "papers" / "l2o" / "two_devices.py"
# Programs here are compiled for one or two calls: half the time at this level.
jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})


def _loss(x, key):
  """A quartic with a minibatch: gradients, and so the optimizer's inputs, depend on x and on the key."""
  v = jnp.concatenate([jnp.ravel(leaf) for leaf in jax.tree.leaves(x)])
  noise = 0.1 * jax.random.normal(key, v.shape)
  return jnp.sum((v + noise) ** 2) + 0.1 * jnp.sum(v**4)


def _start(kind):
  x = jnp.array([0.7, -0.4, 1.1])
  if not KINDS[kind].coordinatewise:
    x = {"a": x, "b": jnp.array([[0.3, -0.2]])}
  theta = KINDS[kind].init_theta(jax.random.key(1))
  return theta, x, KINDS[kind].build(theta).init(x), jax.random.split(jax.random.key(2), 7)


def _unrolled(build, theta, loss, x, state, keys, *, meta_loss=jnp.sum, second_derivatives):
  """`segment.self_training` by back-propagation through the whole unrolled segment: the independent way.

  With `second_derivatives` the optimizer's inputs depend on theta, too; then finite differences agree.
  """
  block = (lambda tree: tree) if second_derivatives else jax.lax.stop_gradient

  def total(theta):
    tx = build(theta)

    def step(carry, key):
      x, state = carry
      value, gradient = jax.value_and_grad(loss)(x, key)
      delta, state = tx.update(block(gradient), state, block(x))
      return (optax.apply_updates(x, delta), state), value

    (x_end, end), values = jax.lax.scan(jax.checkpoint(step), (x, state), keys[:-1])
    losses = jnp.append(values, loss(x_end, keys[-1]))
    return meta_loss(losses), (x_end, end, losses)

  (value, (x_end, end, losses)), gradient = jax.value_and_grad(total, has_aux=True)(theta)
  return segment.Segment(gradient, value, x_end, end, None, losses, [])


def _close(ours, theirs, rtol=1e-4):
  """Every array of a gradient, compared on its own scale; none is zero."""
  assert jax.tree.structure(ours) == jax.tree.structure(theirs)
  for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
    scale = np.abs(b).max()
    assert np.isfinite(b).all() and np.isfinite(a).all()
    np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * scale)


def _log_mean(losses):
  return jnp.mean(jnp.log(losses + 1e-6))


every_kind = pytest.mark.parametrize(
  "kind", [pytest.param(kind, marks=[pytest.mark.slow] * (kind == "l2o_scale")) for kind in KINDS]
)  # l2o_scale: minutes of compiling


@pytest.mark.parametrize(
  ("kind", "save_every", "meta_loss"),
  [
    ("l2o_dm", 1, jnp.sum),
    ("rnnprop", 3, _log_mean),
    ("l2o_mlp", 1, jnp.sum),
    *(
      pytest.param(*row, marks=pytest.mark.slow)
      for row in (
        ("l2o_dm", 3, _log_mean),
        ("rnnprop", 1, jnp.sum),
        ("l2o_mlp", 3, _log_mean),
        ("l2o_scale", 1, jnp.sum),
        ("l2o_scale", 3, _log_mean),
      )
    ),
  ],
)
def test_two_passes_give_the_gradient_of_the_unrolled_segment(kind, save_every, meta_loss):
  theta, x, state, keys = _start(kind)
  build, rest = KINDS[kind].build, (x, state, keys)

  def fast(theta):
    return segment.self_training(
      build, theta, _loss, *rest, meta_loss=meta_loss, save_every=save_every
    )._replace(of_start=[])

  def slow(theta):
    return _unrolled(build, theta, _loss, *rest, meta_loss=meta_loss, second_derivatives=False)

  two, one = jit(fast)(theta), jit(slow)(theta)
  _close(two.gradient, one.gradient)
  _close((two.x, two.losses, two.loss), (one.x, one.losses, one.loss), rtol=1e-5)


@functools.partial(jit, static_argnums=0)
def _whole_gradient(kind, theta, x, keys):
  """Of a segment at the start of an optimization, whose first state theta may determine."""
  build = KINDS[kind].build
  found = segment.self_training(build, theta, _loss, x, build(theta).init(x), keys)
  return jax.tree.map(jnp.add, found.gradient, segment.through_init(build, theta, x, found.of_start))


@every_kind
def test_every_weight_is_trained(kind):
  theta, x, _, keys = _start(kind)
  # Not at the very start, where zeros in theta hide others.
  theta = jax.tree.map(lambda a: a + 0.05 * jnp.cos(jnp.arange(a.size)).reshape(a.shape), theta)
  gradient = _whole_gradient(kind, theta, x, keys)
  assert [name for name, g in named_leaves(gradient).items() if not jnp.any(g)] == []


@pytest.mark.slow
def test_a_learned_start_gets_the_gradient_of_the_unrolled_run():
  theta, x, _, keys = _start("l2o_scale")
  build = KINDS["l2o_scale"].build

  def total(theta):
    return _unrolled(build, theta, _loss, x, build(theta).init(x), keys, second_derivatives=False).loss

  _close(_whole_gradient("l2o_scale", theta, x, keys), jit(jax.grad(total))(theta), rtol=1e-3)


def _learned_rate(theta):
  """Gradient descent with a learned rate: what it is given matters more than for networks that squash it."""

  def update(gradient, state, params=None):
    del params
    return jax.tree.map(lambda g: -theta["rate"] * g, gradient), state

  return optax.GradientTransformation(lambda params: (), update)


@pytest.mark.parametrize(
  "build, theta",
  [
    (_learned_rate, {"rate": jnp.float32(0.1)}),
    (functools.partial(KINDS["rnnprop"].build, scale=0.3), KINDS["rnnprop"].init_theta(jax.random.key(1))),
  ],
  ids=["rate", "rnnprop"],
)
def test_finite_differences_agree_when_second_derivatives_are_on(build, theta):
  x, keys = jnp.array([0.7, -0.4, 1.1]), jax.random.split(jax.random.key(2), 4)

  def run(second):
    return jit(
      lambda theta: _unrolled(build, theta, _loss, x, build(theta).init(x), keys, second_derivatives=second)
    )

  on, off = run(True)(theta).gradient, run(False)(theta).gradient
  size, h = optax.tree.norm(on), 3e-3

  def moved(h):
    return jax.tree.map(lambda a, g: a + h * g / size, theta, on)

  slope = (run(True)(moved(h)).loss - run(True)(moved(-h)).loss) / (2 * h)
  np.testing.assert_allclose(slope, size, rtol=5e-3)
  if build is _learned_rate:  # the stop-gradient is no detail
    assert optax.tree.norm(jax.tree.map(jnp.subtract, on, off)) > 0.1 * size


def test_one_step_on_a_parabola_has_the_gradient_of_the_hand_derivation():
  theta, _, _, keys = _start("l2o_dm")
  build = KINDS["l2o_dm"].build

  def parabola(x, key):
    return 0.5 * jnp.sum(x**2)

  x = jnp.array([1.5])
  found = segment.self_training(build, theta, parabola, x, build(theta).init(x), keys[:2])
  np.testing.assert_allclose(found.gradient["linear"]["b"], 0.01 * found.x, rtol=1e-6)
  np.testing.assert_allclose(found.loss, 0.5 * (1.5**2 + found.x[0] ** 2), rtol=1e-6)


class _Copy:
  """A "learned" optimizer that is a classical one times theta: imitation has a known optimum."""

  def __init__(self, tx):
    self.tx = tx

  def __call__(self, theta):
    def update(gradient, state, params=None):
      step, state = self.tx.update(gradient, state, params)
      return jax.tree.map(lambda s: theta["size"] * s, step), state

    return optax.GradientTransformation(self.tx.init, update)


@pytest.mark.parametrize("name", ["adam", "rmsprop", "nag"])
def test_imitating_oneself_costs_nothing(name):
  tx, x, keys = teacher(name, 0.01), jnp.array([0.7, -0.4]), jax.random.split(jax.random.key(0), 8)
  run = functools.partial(
    segment.imitation,
    _Copy(tx),
    loss=_loss,
    x=x,
    state=tx.init(x),
    keys=keys,
    teacher=tx,
    teacher_state=tx.init(x),
  )
  assert float(run(theta={"size": jnp.float32(1.0)}).loss) < 1e-12
  half = run(theta={"size": jnp.float32(0.5)})
  assert float(half.loss) > 1e-6 and float(half.gradient["size"]) < 0.0  # the label's sign: take longer steps


def test_the_label_is_the_step_of_the_teacher_and_the_path_is_its_own():

  def slope(x, key):
    return 2.0 * jnp.sum(x)

  def nothing(theta):
    return optax.GradientTransformation(
      lambda params: (), lambda g, s, p=None: (jax.tree.map(lambda leaf: theta * leaf, g), s)
    )

  x, keys = jnp.array([1.0, 5.0]), jax.random.split(jax.random.key(0), 4)
  sgd = optax.sgd(0.1)
  found = segment.imitation(
    nothing, jnp.float32(0.0), slope, x, (), keys, teacher=sgd, teacher_state=sgd.init(x)
  )
  np.testing.assert_allclose(found.loss, 4 * 0.02, rtol=1e-5)  # y = -0.2, delta = 0
  np.testing.assert_allclose(found.x, x - 4 * 0.2, rtol=1e-6)
  np.testing.assert_allclose(found.gradient, 4 * 0.2 * 2.0, rtol=1e-5)  # mean over coordinates of (0 + 0.2) g
  long = segment.imitation(
    nothing, jnp.float32(0.0), slope, x, (), keys, teacher=sgd, teacher_state=sgd.init(x), teacher_steps=3
  )
  np.testing.assert_allclose(long.loss, 4 * 0.5 * 0.6**2, rtol=1e-5)
  np.testing.assert_allclose(long.x, x - 12 * 0.2, rtol=1e-5)


def test_blocks_have_to_divide_the_segment():
  theta, x, state, keys = _start("l2o_dm")
  with pytest.raises(ValueError, match="save_every=4"):
    segment.self_training(KINDS["l2o_dm"].build, theta, _loss, x, state, keys, save_every=4)


@pytest.mark.slow  # the laws put the rows of this paper on two devices, too
def test_a_meta_batch_over_two_devices_gives_the_meta_gradient_of_one(tmp_path):
  out = tmp_path / "found.json"
  done = subprocess.run([sys.executable, TWO_DEVICES, str(out)], capture_output=True, text=True)
  assert done.returncode == 0, done.stderr[-2000:]
  for found in json.loads(out.read_text()).values():
    assert found["largest relative difference"] < 1e-5  # of each array of theta, on its own scale
    assert found["smallest largest entry"] > 1e-7
    assert found["optimizations per device"] == [4, 2]
