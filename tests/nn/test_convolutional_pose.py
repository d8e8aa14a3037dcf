"""Pose machines: their sizes in closed form, their shapes, and a small net that finds what it is shown."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vita_jax.nn import convolutional_pose as machines


def _count(module, *shapes):
  made = jax.eval_shape(
    module.init, jax.random.key(0), *(jax.ShapeDtypeStruct(s, jnp.float32) for s in shapes)
  )
  return sum(x.size for x in jax.tree.leaves(made))


def _convolutions(inputs, layers):
  total = 0
  for features, size in layers:
    total += size * size * inputs * features + features
    inputs = features
  return total


def test_the_machines_have_the_weights_of_their_tables():
  hpm = [n for n in machines.HPM_TRUNK if n]
  first = _convolutions(128, [(512, 1), (21, 1)])
  later = _convolutions(149, [(128, 7)] * 5 + [(128, 1), (21, 1)])
  trunk = _convolutions(3, [(n, 3) for n in hpm])
  assert _count(machines.HPM(form="native"), (1, 64, 64, 3)) == trunk + first + 5 * later == 36_799_806
  lifted = _convolutions(21, [(n, 3) for n in hpm]) + first + 5 * later
  linear = (21 * 32 * 32 + 1) * 512 + 513 * 512 + 513 * 21
  assert _count(machines.HPM3D(form="native"), (1, 256, 256, 21)) == lifted + linear == 48_094_163
  color = machines.ColorHandPose3D(form="native")
  assert _count(color, (1, 256, 256, 3), (1,)) == 21_394_529
  assert _count(machines.KeypointNet(), (1, 64, 64, 3)) == 189_781


def _shapes(module, *inputs):
  made = jax.eval_shape(
    module.init_with_output, jax.random.key(0), *(jax.ShapeDtypeStruct(s, jnp.float32) for s in inputs)
  )
  return jax.tree.map(lambda x: x.shape, made[0])


def test_machines_give_maps_of_the_picture_and_refuse_other_sides():
  small = {"width": 0.05, "form": "native"}
  assert _shapes(machines.HPM(**small), (2, 64, 72, 3)) == (6, 2, 64, 72, 21)
  assert _shapes(machines.HPM3D(**small), (2, 64, 64, 21)) == (2, 21)
  found = _shapes(machines.ColorHandPose3D(**small), (2, 64, 64, 3), (2,))
  assert found == ((3, 2, 8, 8, 21), (2, 21, 3), (2, 3, 3), (2, 21, 3))
  with pytest.raises(ValueError, match=r"sides that are multiples of 8, not \[1, 60, 64, 3\]"):
    _shapes(machines.HPM(**small), (1, 60, 64, 3))


@pytest.mark.slow
def test_a_hand_in_space_is_turned_and_counted_from_its_wrist():
  module = machines.ColorHandPose3D(width=0.05, form="native")
  images, right = jax.random.uniform(jax.random.key(0), (2, 64, 64, 3)), jnp.array([0.0, 1.0])
  found, _ = jax.jit(module.init_with_output)(jax.random.key(1), images, right)
  np.testing.assert_allclose(found.xyz[:, 0], 0, atol=1e-6)
  turns = np.asarray(found.rotation)
  np.testing.assert_allclose(turns @ turns.transpose(0, 2, 1), np.tile(np.eye(3), (2, 1, 1)), atol=1e-5)
  moved = found.canonical * np.array([[[1, 1, 1]], [[1, 1, -1]]]) @ turns
  np.testing.assert_allclose(found.xyz, moved - moved[:, :1], atol=1e-5)


def test_soft_places_are_differentiable_means_of_places():
  maps = jnp.zeros((1, 4, 6, 2)).at[0, 1, 4, 0].set(100.0)
  places = machines.soft_places(maps)
  np.testing.assert_allclose(places[0], [[4, 1], [2.5, 1.5]], atol=1e-5)
  assert np.isfinite(jax.grad(lambda x: machines.soft_places(x).sum())(maps)).all()


def test_a_turn_of_zero_is_the_identity_and_has_a_gradient():
  matrix = jax.jit(machines.axis_angle_matrix)
  np.testing.assert_allclose(matrix(jnp.zeros((1, 3)))[0], np.eye(3), atol=1e-6)
  quarter = matrix(jnp.array([[0, 0, np.pi / 2]]))[0]
  np.testing.assert_allclose(quarter, [[0, -1, 0], [1, 0, 0], [0, 0, 1]], atol=1e-6)
  assert np.isfinite(jax.jit(jax.grad(lambda x: matrix(x).sum()))(jnp.zeros((1, 3)))).all()


def test_the_keypoint_net_learns_where_a_dot_is():
  """All joints at a white dot at (x, y), x beyond y: axes are not swapped."""
  rng = np.random.default_rng(0)
  centre = rng.integers([8, 4], [24, 12], (64, 2))
  images = np.zeros((64, 32, 32, 3), np.float32)
  for i, (x, y) in enumerate(centre):
    images[i, y : y + 4, x : x + 4] = 1
  truth = np.repeat(centre[:, None] + 1.5, 21, axis=1).astype(np.float32)
  net = machines.KeypointNet(8, "native")
  params = net.init(jax.random.key(0), images[:1])
  tx = optax.adam(1e-2)

  @jax.jit
  def step(params, state):
    loss, slope = jax.value_and_grad(lambda p: jnp.abs(net.apply(p, images) - truth).mean())(params)
    change, state = tx.update(slope, state)
    return optax.apply_updates(params, change), state, loss

  state, losses = tx.init(params), []
  for _ in range(60):
    params, state, loss = step(params, state)
    losses.append(float(loss))
  assert losses[-1] < 1.5 < losses[0]
