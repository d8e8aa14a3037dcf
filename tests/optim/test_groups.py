"""Multipliers of layer groups: exact freezing, both forms of SGD, state found anywhere, errors by name."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from optim.table import assert_close, gradients_like, named, play
from vita_jax.optim import (
  FROZEN,
  group_by_pattern,
  layer_decay,
  multipliers_of,
  scale_by_group,
  set_multipliers,
  torch_sgd,
  velocity_sgd,
)

PARAMS = {
  "stem": jnp.array([1.0, -2.0]),
  "block": {"w": jnp.ones((2, 3)), "b": jnp.zeros(3)},
  "head": jnp.ones(2),
}
PATTERNS = {"low": r"^(stem|block)(/|$)", "head": "^head$"}
LABELS = group_by_pattern(PATTERNS)
GRADIENTS = gradients_like(PARAMS, 5, seed=3)
FORMS = {"velocity": velocity_sgd, "torch": torch_sgd}
every_form = pytest.mark.parametrize("form", FORMS)


def _moved(tx, gradients, params, state=None):
  state = tx.init(params) if state is None else state
  for g in gradients:
    updates, state = tx.update(g, state, params)
    params = optax.apply_updates(params, updates)
  return params, state


@pytest.mark.parametrize(("form", "expected"), [("velocity", -4.61), ("torch", -2.90)])
def test_the_two_forms_differ_when_the_rate_becomes_0(form, expected):
  """w = 0, g = 1: rate 1 for two steps, then 0. Inside the velocity it coasts; outside it stops."""
  tx = FORMS[form](1.0, scale_by_group({"w": "all"}))
  w, ones = {"w": jnp.zeros(())}, {"w": jnp.ones(())}
  w, state = _moved(tx, [ones] * 2, w)
  w, _ = _moved(tx, [ones], w, set_multipliers(state, [0.0]))
  assert float(w["w"]) == pytest.approx(expected, rel=1e-6)


def _velocity_by_hand(w, gradients, multipliers):
  """v <- 0.9 v + 0.1 m (g + 0.05 w), w <- w - v, in NumPy."""
  v, path = np.zeros_like(w), []
  for g, m in zip(gradients, multipliers, strict=True):
    v = 0.9 * v + 0.1 * m[:, None] * (g + 0.05 * w)
    w = w - v
    path.append(w)
  return np.stack(path)


@every_form
def test_a_path_of_changing_multipliers_is_that_of_torch_and_of_the_formula(form):
  """sgd.npz holds what torch.optim.SGD gives with two parameter groups; rates become 0 and rise again."""
  with np.load(Path(__file__).parent / "fixtures" / "sgd.npz", allow_pickle=False) as file:
    known = {name: file[name] for name in file.files}
  expected = known["path"]
  if form == "velocity":
    expected = _velocity_by_hand(*(known[name] for name in ("start", "gradients", "multipliers")))
  tx = FORMS[form](0.1, scale_by_group({"a": "a", "b": "b"}), weight_decay=5e-2)
  params = dict(zip("ab", known["start"], strict=True))
  state = tx.init(params)
  for g, multipliers, after in zip(known["gradients"], known["multipliers"], expected, strict=True):
    gradients = dict(zip("ab", g, strict=True))
    params, state = _moved(tx, [gradients], params, set_multipliers(state, multipliers))
    np.testing.assert_allclose(np.stack([params["a"], params["b"]]), after, rtol=1e-5, atol=1e-6)


@every_form
def test_multipliers_of_1_are_plain_sgd_to_the_bit(form):
  build = functools.partial(FORMS[form], 0.1, weight_decay=5e-4)
  found, _ = play(build(scale_by_group(LABELS)), GRADIENTS, PARAMS)
  expected, _ = play(build(), GRADIENTS, PARAMS)
  for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
    np.testing.assert_array_equal(a, b)
  plain, _ = play(
    optax.chain(optax.add_decayed_weights(5e-4), optax.sgd(0.1, momentum=0.9)), GRADIENTS, PARAMS
  )
  assert_close(found, plain, rtol=1e-5)  # at a constant rate both are torch.optim.SGD


@every_form
def test_a_multiplier_of_0_freezes_to_the_bit_with_weight_decay(form):
  """From the start, so that there is no velocity to coast on; NaN gradients do not reach the weights."""
  tx = FORMS[form](0.1, scale_by_group(LABELS), weight_decay=0.1)
  spoiled = [{**g, "stem": jnp.full(2, jnp.nan)} for g in GRADIENTS]
  params, _ = _moved(tx, spoiled, PARAMS, set_multipliers(tx.init(PARAMS), [0.0, 1.0]))
  for name, x in named(params).items():
    assert np.all(x != PARAMS["head"]) if name == "head" else np.array_equal(x, named(PARAMS)[name])


def test_labels_of_frozen_leaves_have_no_multiplier():
  labels = group_by_pattern({"body": "^(stem|head)$", FROZEN: "^block/"})
  tx = velocity_sgd(0.1, scale_by_group(labels), weight_decay=0.1)
  params, state = _moved(tx, GRADIENTS, PARAMS)
  np.testing.assert_array_equal(params["block"]["w"], PARAMS["block"]["w"])
  assert multipliers_of(state).shape == (1,) and np.all(params["head"] != PARAMS["head"])


def test_multipliers_change_what_they_name_and_nothing_is_compiled_again():
  tx = optax.chain(optax.clip_by_global_norm(100.0), velocity_sgd(0.1, scale_by_group(LABELS), momentum=0.0))
  update = jax.jit(tx.update)
  state = tx.init(PARAMS)
  plain, state = update(GRADIENTS[0], state, PARAMS)
  halved, state = update(GRADIENTS[0], set_multipliers(state, jnp.array([0.5, 1.0])), PARAMS)
  update(GRADIENTS[0], set_multipliers(state, [0.25, 0.0]), PARAMS)
  assert update._cache_size() == 1
  np.testing.assert_allclose(halved["block"]["w"], 0.5 * plain["block"]["w"], rtol=1e-6)
  np.testing.assert_array_equal(halved["head"], plain["head"])
  np.testing.assert_array_equal(multipliers_of(state), [0.5, 1.0])


def test_state_is_found_under_injected_hyperparameters_and_inside_jit():
  inject = optax.inject_hyperparams(velocity_sgd, static_args=("momentum",))
  tx = optax.chain(inject(0.1, scale_by_group(LABELS), momentum=0.5), optax.scale(2.0))
  state = tx.init(PARAMS)
  state = jax.jit(set_multipliers)(state, jnp.array([0.0, 0.7]))
  np.testing.assert_allclose(multipliers_of(state), [0.0, 0.7], rtol=1e-6)
  updates, _ = tx.update(GRADIENTS[0], state, PARAMS)
  assert not np.any(updates["stem"])
  np.testing.assert_allclose(updates["head"], -2 * 0.1 * 0.7 * GRADIENTS[0]["head"], rtol=1e-5)
  scheduled = optax.inject_hyperparams(velocity_sgd)(lambda t: 1.0 / (1.0 + t), scale_by_group(LABELS))
  assert set(scheduled.init(PARAMS).hyperparams) >= {"learning_rate"}


@pytest.mark.parametrize(
  "labels",
  [
    {"stem": "low", "block": "low", "head": "head"},
    {"stem": "low", "block": {"w": "low", "b": "low"}, "head": "head"},
    lambda path: "head" if path == "head" else "low",
  ],
  ids=["branches", "leaves", "function"],
)
def test_labels_may_be_a_tree_or_a_function(labels):
  values, names = [0.5, 2.0], ("low", "head")
  found, expected = (
    tx.update(GRADIENTS[0], set_multipliers(tx.init(PARAMS), values))[0]
    for tx in (scale_by_group(labels, groups=names), scale_by_group(LABELS))
  )
  assert_close(found, expected)


def test_the_order_of_the_multipliers_is_that_of_the_groups():
  labels = {"stem": "low", "block": "low", "head": "head"}
  for groups, values in ((("low", "head"), [0.0, 1.0]), (None, [1.0, 0.0])):  # default: sorted
    tx = scale_by_group(labels, groups=groups)
    updates, _ = tx.update(GRADIENTS[0], set_multipliers(tx.init(PARAMS), values))
    assert not np.any(updates["stem"]) and np.any(updates["head"])


@pytest.mark.parametrize(
  ("build", "message"),
  [
    (
      lambda: scale_by_group(group_by_pattern({"low": "^stem"})),
      "parameter 'block/b' matches no group: add it",
    ),
    (
      lambda: scale_by_group(group_by_pattern({"low": "", "tail": "^tail"})),
      "group 'tail' has no parameters: correct its pattern or labels",
    ),
    (
      lambda: scale_by_group({"stem": "a", "block": {"w": "a"}, "head": "a"}),
      "parameter 'block/b' has no label",
    ),
    (
      lambda: scale_by_group({"stem": "lo", "block": "low", "head": "low"}, groups=["low"]),
      r"parameter 'stem' is of group 'lo' \(nearest: 'low'\): the groups are low",
    ),
    (lambda: scale_by_group(lambda path: "a"), "labels are a function: give the names of the groups"),
    (lambda: scale_by_group(LABELS, groups=("low", "low")), "give at least one name, and none twice"),
    (lambda: group_by_pattern({}), "there are no groups"),
    (
      lambda: group_by_pattern({"low": "("}),
      r"the pattern of group 'low', '\(', is not a regular expression",
    ),
    (lambda: velocity_sgd(-1.0), "^learning_rate is -1.0: it must be a finite number, at least 0"),
    (lambda: torch_sgd(0.1, momentum=1.0), "^momentum is 1.0: it must be a finite number"),
    (lambda: torch_sgd(0.1, weight_decay=-0.1), "^weight_decay is -0.1: it must be"),
    (lambda: layer_decay(3, factor=0.0), "^factor is 0.0: it must be a finite number, above 0"),
    (lambda: layer_decay(0), "^groups is 0: it must be"),
  ],
)
def test_what_does_not_fit_is_refused_in_one_line(build, message):
  with pytest.raises(ValueError, match=message):
    build().init(PARAMS)


def test_multipliers_that_cannot_be_are_refused():
  state = velocity_sgd(0.1, scale_by_group(LABELS)).init(PARAMS)
  for values, message in (
    ([1.0], r"multipliers must be \[2\], one for each group; they are \[1\]"),
    ([1.0, -0.1], "each must be a finite number, at least 0"),
    ([1.0, np.nan], "each must be a finite number, at least 0"),
  ):
    with pytest.raises(ValueError, match=message):
      set_multipliers(state, values)
  with pytest.raises(ValueError, match="the state has 0 states of scale_by_group: it must have one"):
    multipliers_of(optax.sgd(0.1).init(PARAMS))


def test_layer_decay_grows_towards_the_head():
  np.testing.assert_allclose(layer_decay(4), [2.6**-3, 2.6**-2, 2.6**-1, 1.0], rtol=1e-6)
