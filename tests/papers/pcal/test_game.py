"""The game: who is trained by what, restarts, normalisation, noise, and selection on validation rows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from papers.pcal import small

from vita_jax.papers import pcal
from vita_jax.papers.pcal import freeze, losses, steps
from vita_jax.papers.pcal import game as games
from vita_jax.papers.pcal.model import MLP, make_ensemble, moments, normalize

ARRAYS = {}


def _started(**overrides):
  """(game, state at the beginning of the game, stages by name) of the small task."""
  if not ARRAYS:
    ARRAYS["task"] = small.task()
    ARRAYS["arrays"] = jax.tree.map(jnp.asarray, ARRAYS["task"].arrays)
    experiment = pcal.experiment(small.config(), ARRAYS["task"])
    pretrain, play, _ = experiment.stages

    def sweep(fn, state, over="data"):
      return fn(state, ARRAYS["arrays"])

    def begin(key):
      return play.enter(pretrain.enter(experiment.init(key), sweep), sweep)

    ARRAYS["state"] = jax.jit(begin)(jax.random.key(0))
  config, task, state = small.config(**overrides), ARRAYS["task"], ARRAYS["state"]
  experiment = pcal.experiment(config, task)
  state = {**state, "gamma": jnp.float32(config.gamma)}
  if config.select == "validation":
    state |= {"best": jnp.float32(-jnp.inf), "kept": games.players(state)}
  return (
    pcal.make_game(pcal.recipe_of(config), task),
    state,
    {stage.name: stage for stage in experiment.stages},
  )


def _jitted(fn, game, **fixed):
  return jax.jit(lambda state, key: fn(game, state, ARRAYS["arrays"], key, **fixed))


@pytest.fixture(scope="module")
def started():
  return _started()


def _adversary_steps(game, state, arrays, key, *, n):
  """`n` steps of the adversaries on rows drawn with the same key."""
  return games.adversary_steps(game, state, arrays, games.draw(game, state, key, n), key)


def _same(one, other):
  leaves = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
  return all(np.array_equal(x, y) for x, y in leaves)


@pytest.fixture(scope="module")
def learn(started):
  """40 steps of the adversaries, compiled once."""
  return _jitted(_adversary_steps, started[0], n=40)


@pytest.fixture(scope="module")
def encoder_step():
  """A compiled step of the game in which adversaries stand still."""
  _, _, stages = _started(**{"restart.every": 0, "adversary.steps": 0})
  return jax.jit(stages["game"].step)


def test_adversaries_learn_and_leave_encoder_and_head_alone(started, learn):
  _, state, _ = started
  run = learn
  after, each = run(state, jax.random.key(1))
  assert _same(after["params"], state["params"]) and each.shape == (3, 2)
  assert _same(after["tx"]["encoder"], state["tx"]["encoder"])
  assert not _same(after["adversary"], state["adversary"])
  _, later = run(after, jax.random.key(2))
  assert later.mean() < each.mean()


def test_the_encoder_step_leaves_adversaries_alone(started, encoder_step):
  _, state, _ = started
  after, values = encoder_step(state, ARRAYS["arrays"], jnp.int32(3))
  assert _same(after["adversary"], state["adversary"])
  assert not _same(after["params"]["encoder"], state["params"]["encoder"])
  assert "adversary_loss" not in values


def test_gamma_zero_is_plain_training(started, encoder_step):
  _, state, stages = started
  play, plain = encoder_step, jax.jit(stages["pretrain"].step)
  ours = theirs = {**state, "gamma": jnp.float32(0)}
  for t in range(3):
    ours, _ = play(ours, ARRAYS["arrays"], jnp.int32(t))
    theirs, _ = plain(theirs, ARRAYS["arrays"], jnp.int32(t))
  for one, other in zip(jax.tree.leaves(ours["params"]), jax.tree.leaves(theirs["params"]), strict=True):
    np.testing.assert_allclose(one, other, atol=1e-6)  # the bits, but for how XLA fuses the larger program


def test_reversal_is_minus_the_plain_gradient(started):
  game, state, _ = started
  single = make_ensemble(((4,),), n_attributes=1, n_classes=2)
  adversary = jax.jit(lambda key: single.init(key, 2))(jax.random.key(0))
  x = jax.random.normal(jax.random.key(1), (16, len(game.encoding.names)))
  labels, mask, prior = jnp.arange(16)[None] % 2, jnp.ones((1, 2), bool), jnp.full((1, 2), 0.5)

  def logits(encoder):
    return single.apply(adversary, game.training_z(encoder, x, jax.random.key(2))[0])

  def reversed_loss(encoder):
    return losses.privacy_risk("neg_xent", logits(encoder), labels, mask, prior, reduction="max").sum()

  def plain_loss(encoder):
    return losses.cross_entropy(logits(encoder), labels[None], mask[:, None]).mean()

  encoder = state["params"]["encoder"]
  one, other = jax.jit(jax.grad(reversed_loss))(encoder), jax.jit(jax.grad(plain_loss))(encoder)
  jax.tree.map(lambda x, y: np.testing.assert_allclose(x, -y, atol=1e-7), one, other)


def test_a_restart_renews_adversaries_and_their_moments_and_nothing_else(learn):
  game, state, _ = _started(**{"restart.steps": 0})
  worn, _ = learn(state, jax.random.key(1))
  after = _jitted(games.restart, game)(worn, jax.random.key(2))
  assert not _same(after["adversary"], worn["adversary"]) and not _same(
    after["adversary"], state["adversary"]
  )
  assert all(
    not np.any(leaf) for leaf in jax.tree.leaves(after["tx"]["adversary"])
  )  # Adam's count, mu and nu
  assert int(after["restarts"]) == 1
  kept = [name for name in worn if name not in ("adversary", "tx", "restarts")]
  assert all(_same(after[name], worn[name]) for name in kept if name not in ("key", "noise_key"))
  assert _same(after["tx"]["encoder"], worn["tx"]["encoder"])


def test_restarts_come_on_time_and_end_before_the_game():
  game, state, stages = _started(**{"restart.until": 0.5})  # every 4 of 12 steps, none after the sixth
  step = jax.jit(stages["game"].step)
  counts = []
  for t in range(12):
    state, _ = step(state, ARRAYS["arrays"], jnp.int32(t))
    counts.append(int(state["restarts"]))
  assert counts == [1] * 4 + [2] * 8


def test_monitors_leave_steps_out():
  """An adversary that is right often enough rests; utility steps are taken only below the floor."""
  game, state, _ = _started(**{"monitor.adversary": 0.0})
  after, _ = _jitted(_adversary_steps, game, n=3)(state, jax.random.key(0))
  assert _same(after["adversary"], state["adversary"])
  for floor, moved in ((0.0, False), (1.0, True)):
    game, state, _ = _started(**{"monitor.utility": floor, "monitor.utility_steps": 1})
    after = _jitted(steps.guarded_utility_step, game)(state, jax.random.key(0))
    assert _same(after["params"], state["params"]) != moved


def test_z_has_no_scale_to_hide_in():
  h = jax.random.normal(jax.random.key(0), (500, 3)) * jnp.array([1.0, 1e3, 5.0]) + 7
  z = normalize(h, moments(h))
  np.testing.assert_allclose(z.mean(0), 0, atol=1e-4)
  np.testing.assert_allclose(z.std(0), 1, atol=1e-4)
  np.testing.assert_allclose(normalize(100 * h, moments(100 * h)), z, atol=1e-3)


def test_dropout_is_for_training_alone():
  game, state, _ = _started(**{"noise": 0.0, "dropout": 0.5})
  rows, encoder = jnp.arange(200), state["params"]["encoder"]
  x = game.inputs(state, ARRAYS["arrays"], rows)
  train = jax.jit(lambda key: game.training_z(encoder, x, key)[0])
  use = jax.jit(lambda key: game.frozen_z(state, ARRAYS["arrays"], rows, key))
  one, other = jax.random.key(1), jax.random.key(2)
  assert np.mean(np.asarray(train(one) != train(other))) > 0.9
  np.testing.assert_array_equal(use(one), use(other))
  plain = game.encoder.clone(dropout=0.0).apply({"params": encoder}, x)
  np.testing.assert_array_equal(game.hidden(encoder, x), plain)


def test_equal_adversaries_are_stacked_and_start_apart():
  ensemble = make_ensemble(((), (4,), (4,), (8, 8)), n_attributes=2, n_classes=3)
  assert [n for _, n in ensemble.groups] == [1, 2, 1] and ensemble.size == 4
  params = jax.jit(lambda key: ensemble.init(key, 5))(jax.random.key(0))
  assert params[1]["Dense_0"]["kernel"].shape == (2, 2, 5, 4) and "LayerNorm_0" in params[2]
  z = jax.random.normal(jax.random.key(1), (7, 5))
  logits = jax.jit(ensemble.apply)(params, z)
  assert logits.shape == (4, 2, 7, 3)
  one = jax.tree.map(lambda x: x[1, 0], params[1])
  alone = MLP((4,), 3).apply({"params": one}, z)
  np.testing.assert_allclose(logits[2, 0], alone, atol=1e-5)
  assert not np.allclose(logits[1], logits[2])


def test_the_encoder_is_cut_off_from_what_never_varied(started):
  game, state, _ = started
  arrays = {**ARRAYS["arrays"], "codes": jnp.zeros_like(ARRAYS["arrays"]["codes"])}
  encoder = jax.jit(lambda s, a: freeze.without_constants(game, s, a))(state, arrays)
  column = game.encoding.names.index("job=c")
  assert not np.any(encoder["Dense_0"]["kernel"][column])
  rows = state["rows"][:20]
  hidden = jax.jit(lambda e: game.hidden(e, game.inputs(state, arrays, rows)))
  before, after = hidden(state["params"]["encoder"]), hidden(encoder)
  np.testing.assert_allclose(before, after, atol=1e-5)


def test_the_encoder_with_the_least_leak_and_loss_is_kept():
  game, state, _ = _started(select="validation", gamma=5.0)
  judge = _jitted(games.judge, game)
  judged = judge(state, jax.random.key(0))
  assert np.isfinite(judged["best"]) and _same(judged["kept"], games.players(state))
  worse = {**judged, **jax.tree.map(lambda x: 10 * x, games.players(state))}
  worse["best"] = judged["best"] + 1
  assert _same(judge(worse, jax.random.key(0))["kept"], games.players(state))
