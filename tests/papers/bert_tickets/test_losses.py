"""Losses, masked words, scores, the learning rate, the rule of matching: closed forms and scikit-learn."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import stats
from sklearn.metrics import f1_score, matthews_corrcoef

from vita_jax.papers.bert_tickets import losses, scores
from vita_jax.papers.bert_tickets.matching import last_matching, matches
from vita_jax.papers.bert_tickets.steps import decayed, make_step, optimizer


def test_padded_rows_count_nothing():
  logits = jnp.array([[2.0, 0.0], [0.0, 1.0], [5.0, -5.0]])
  labels, weights = jnp.array([0, 0, 1]), jnp.array([1.0, 1.0, 0.0])
  expected = np.mean([np.log1p(np.exp(-2.0)), np.log1p(np.exp(1.0))])
  assert losses.cross_entropy(logits, labels, weights) == pytest.approx(expected, rel=1e-6)
  assert losses.squared_error(logits[:, :1], jnp.array([1.0, 2.0, 9.0]), weights) == pytest.approx(2.5)
  assert losses.weighted_mean(jnp.ones(2), jnp.zeros(2)) == 0


def test_spans_beyond_the_text_are_left_out():
  logits = jax.random.normal(jax.random.key(0), (2, 5, 2))
  each = lambda row, column, place: -jax.nn.log_softmax(logits[row, :, column])[place]  # noqa: E731
  found = losses.span_loss(logits, jnp.array([1, 4]), jnp.array([2, 5]), jnp.ones(2))
  expected = 0.5 * ((each(0, 0, 1) + each(1, 0, 4)) / 2 + each(0, 1, 2))
  assert found == pytest.approx(float(expected), rel=1e-6)


def test_words_are_masked_as_in_bert():
  ids = jnp.tile(jnp.array([[2, *range(10, 72), 3]]), (200, 1)).at[:, 50:60].set(0)
  settings = {"special": (0, 2, 3), "mask_id": 4, "vocab_size": 100}
  found = jax.jit(lambda k: losses.mask_words(k, ids, **settings))(jax.random.key(0))
  chosen = np.zeros(ids.shape, bool)
  np.put_along_axis(chosen, np.asarray(found.positions), np.asarray(found.weights) > 0, axis=1)
  words = np.isin(ids, [0, 2, 3], invert=True)
  assert found.positions.shape == (200, 13) and not (chosen & ~words).any()
  n = words.sum()
  share = chosen.sum() / n  # a little is lost where more than 13 of 52 words are drawn
  assert abs(share - 0.15) < 4 * np.sqrt(0.15 * 0.85 / n)
  np.testing.assert_array_equal(np.where(chosen, 0, found.ids), np.where(chosen, 0, ids))
  kept = np.asarray(found.weights) > 0
  np.testing.assert_array_equal(
    np.asarray(found.labels)[kept], np.take_along_axis(np.asarray(ids), np.asarray(found.positions), 1)[kept]
  )
  new, old = np.asarray(found.ids)[chosen], np.asarray(ids)[chosen]
  assert abs((new == 4).mean() - 0.8) < 0.04 and abs((new == old).mean() - 0.1) < 0.03
  changed = new[(new != 4) & (new != old)]
  assert changed.min() < 10 and changed.max() > 90  # any id of the vocabulary, special ones included


def test_scores_are_those_of_the_libraries():
  predicted = np.array([1] * 6 + [0] * 3 + [1] + [0] * 2)
  labels = np.array([1] * 6 + [0] * 3 + [0] + [1] * 2)
  assert scores.matthews(predicted, labels) == pytest.approx(16 / np.sqrt(1120))
  assert scores.matthews(np.ones(4), np.array([0, 1, 1, 0])) == 0.0
  rng = np.random.default_rng(0)
  for _ in range(20):
    predicted, labels = rng.integers(0, 2, (2, 30))
    assert scores.matthews(predicted, labels) == pytest.approx(
      matthews_corrcoef(labels, predicted), abs=1e-12
    )
    assert scores.f1(predicted, labels) == pytest.approx(f1_score(labels, predicted), abs=1e-12)
    x, y = rng.normal(size=30), rng.integers(0, 5, 30)
    assert scores.pearson(x, y) == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-12)
    assert scores.spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)
  assert scores.pearson(np.ones(5), np.arange(5)) == 0.0
  assert list(scores.metrics_of("cola", regression=False)) == ["matthews", "accuracy"]
  assert list(scores.metrics_of("custom", regression=True)) == ["pearson", "spearman"]
  assert list(scores.metrics_of("custom", regression=False)) == ["accuracy"]


def test_the_rate_falls_to_zero_over_a_training():
  found = [float(decayed(2e-5, jnp.int32(t), steps=100)) for t in (0, 50, 99, 100)]
  np.testing.assert_allclose(found, [2e-5, 1e-5, 2e-7, 0], atol=1e-12)


def test_a_step_is_masked_clipped_adam_with_that_rate():
  def loss(params, batch, key):
    value = jnp.sum(jnp.square(params["kernel"] - batch["x"]))
    return value, {"loss": (value, jnp.float32(1))}

  mask = jnp.array([[True, False, True, True]])
  tx = optimizer(clip_norm=1.0)
  params = {"kernel": jnp.array([[1.0, 0.0, -2.0, 0.5]])}
  step = jax.jit(make_step(loss, tx, learning_rate=0.1, decay_steps=20, offset=3))
  state = {
    "params": params,
    "tx": tx.init(params),
    "key": jax.random.key(0),
    "training": jnp.int32(1),
    "masks": {"kernel": jnp.packbits(mask, axis=-1, bitorder="little")},
  }
  reference = optax.chain(
    optax.clip_by_global_norm(1.0), optax.adam(lambda count: 0.1 * (1 - (count + 3) / 20), eps=1e-8)
  )
  expected, opt = params, reference.init(params)
  batch = {"x": jnp.array([[3.0, 4.0, 5.0, 6.0]])}
  for t in range(10):
    state, values = step(state, batch, jnp.int32(t))
    grads = jax.grad(lambda p: loss(p, batch, None)[0])(expected)
    updates, opt = reference.update({"kernel": jnp.where(mask, grads["kernel"], 0.0)}, opt)
    expected = optax.apply_updates(expected, updates)
  np.testing.assert_allclose(state["params"]["kernel"], expected["kernel"], atol=1e-6)
  assert state["params"]["kernel"][0, 1] == 0.0


def test_matching_takes_the_spread_that_the_rule_names():
  full, near = [0.80, 0.82], [0.79, 0.81]  # means 0.81 and 0.80, std 0.01
  assert matches(near, full) and matches(near, full, rule="full_std") and not matches(near, full, rule="mean")
  sure, wide = [0.80, 0.80], [0.70, 0.90]
  assert not matches(sure, full) and matches(sure, full, rule="full_std")
  assert matches(wide, full) and matches(full, full, rule="mean")
  assert last_matching({50: near, 70: sure, 90: [0.5, 0.5]}, full) == 50
  assert last_matching({50: [0.1, 0.1]}, full) is None
  with pytest.raises(ValueError, match="two seeds or more"):
    matches([0.9], full)
  with pytest.raises(ValueError, match="no values"):
    matches([], full)
