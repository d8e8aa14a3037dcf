"""What keeps weights and features near the start: closed forms, and a quadratic for synaptic intelligence."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax.losses import anchor

START = {"body": {"w": jnp.array([1.0, -2.0])}, "head": jnp.array([0.5])}
PARAMS = {"body": {"w": jnp.array([2.0, 0.0])}, "head": jnp.array([3.5])}


def test_l2_sp_is_half_the_squared_distance_of_the_chosen_leaves():
  assert float(anchor.l2_sp(PARAMS, START)) == pytest.approx((1 + 4 + 9) / 2)
  assert float(anchor.l2_sp(PARAMS, START, select="^body/")) == pytest.approx(2.5)
  assert float(anchor.l2_sp(START, START)) == 0.0
  importance = {"body": {"w": jnp.array([2.0, 0.5])}, "head": jnp.array([0.0])}
  assert float(anchor.l2_sp(PARAMS, START, importance=importance)) == pytest.approx((2 + 2) / 2)
  gradient = jax.grad(anchor.l2_sp, argnums=(0, 1))(PARAMS, START)
  np.testing.assert_array_equal(gradient[0]["body"]["w"], [1.0, 2.0])
  assert not any(np.any(x) for x in jax.tree.leaves(gradient[1]))


@pytest.mark.parametrize(
  ("start", "options", "message"),
  [
    ({"body": START["body"]}, {}, "start is a tree unlike the weights: only one has 'head'"),
    ({**START, "head": jnp.ones(2)}, {}, r"start has 'head' of shape \(2,\), the weights \(1,\)"),
    (START, {"select": "tail"}, "select='tail' finds none of the weights body/w, head"),
    (START, {"importance": {"head": 1.0}}, "importance is a tree unlike the weights"),
  ],
)
def test_what_does_not_fit_is_refused_by_name(start, options, message):
  with pytest.raises(ValueError, match=message):
    anchor.l2_sp(PARAMS, start, **options)


def test_features_are_compared_after_pooling():
  rng = np.random.default_rng(0)
  student, teacher = (jnp.asarray(rng.normal(size=(3, 4, 5, 6)), jnp.float32) for _ in range(2))
  expected = float(np.mean((np.mean(student, (1, 2)) - np.mean(teacher, (1, 2))) ** 2))
  assert float(anchor.feature_l2(student, teacher)) == pytest.approx(expected, rel=1e-5)
  assert float(anchor.feature_l2(student, jnp.mean(teacher, (1, 2)))) == pytest.approx(expected, rel=1e-5)
  assert not np.any(jax.grad(anchor.feature_l2, argnums=1)(student, teacher))
  with pytest.raises(ValueError, match="must be of one shape"):
    anchor.feature_l2(student, teacher[..., :3])


def test_the_path_adds_up_to_what_the_loss_has_fallen():
  """Of a quadratic with small steps: sum_j path_j = L(start) - L(end), each weight its own part."""
  curvature = jnp.array([1.0, 4.0])

  def loss(params):
    return 0.5 * jnp.sum(curvature * params["w"] ** 2)

  params = {"w": jnp.array([1.0, -1.0])}
  begun = importance = anchor.init_importance(params)
  first = loss(params)
  for _ in range(300):
    gradients = jax.grad(loss)(params)
    updates = jax.tree.map(lambda g: -0.002 * g, gradients)
    importance = anchor.add_step(importance, gradients, updates)
    params = jax.tree.map(jnp.add, params, updates)
  fallen = 0.5 * curvature * (begun.start["w"] ** 2 - params["w"] ** 2)
  np.testing.assert_allclose(importance.path["w"], fallen, rtol=0.02)
  assert float(jnp.sum(importance.path["w"])) == pytest.approx(float(first - loss(params)), rel=0.02)
  found = anchor.importance_of_path(importance, params, damping=0.1)["w"]
  np.testing.assert_allclose(found, importance.path["w"] / ((params["w"] - begun.start["w"]) ** 2 + 0.1))


def test_a_weight_that_raised_the_loss_has_no_importance():
  begun = anchor.init_importance({"w": jnp.ones(2)})
  moved = anchor.add_step(begun, {"w": jnp.array([1.0, 1.0])}, {"w": jnp.array([0.5, -0.5])})
  found = anchor.importance_of_path(moved, {"w": jnp.array([1.5, 0.5])})["w"]
  np.testing.assert_allclose(found, [0.0, 0.5 / 0.35], rtol=1e-6)
  with pytest.raises(ValueError, match="damping is 0: it must be a finite number, above 0"):
    anchor.importance_of_path(moved, {"w": jnp.ones(2)}, damping=0)
