"""Grids, and suppression against a plain loop."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax.metrics import box_iou
from vita_jax.nn.detectors import boxes

suppress = jax.jit(boxes.non_maximum_suppression, static_argnames=("count",))


def _drawn(seed, n):
  rng = np.random.default_rng(seed)
  corner, size = rng.uniform(0, 60, (n, 2)), rng.uniform(5, 40, (n, 2))
  return rng.uniform(size=n).astype(np.float32), np.concatenate([corner, corner + size], -1).astype(
    np.float32
  )


def _plain(scores, found, count, threshold, least):
  """Greedy suppression as every textbook has it."""
  kept = []
  for i in np.argsort(-scores, kind="stable"):
    if scores[i] >= least and all(float(box_iou(found[[i]], found[[k]])[0, 0]) <= threshold for k in kept):
      kept.append(i)
  return kept[:count]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("count", "threshold", "least"), [(10, 0.5, 0.0), (5, 0.2, 0.3), (60, 0.6, 0.9)])
def test_suppression_is_that_of_a_plain_loop(seed, count, threshold, least):
  scores, found = _drawn(seed, 40)
  best, places, kept = suppress(scores, found, count=count, threshold=threshold, least=least)
  expected = _plain(scores, found, count, threshold, least)
  assert best.shape == (count,) and places.shape == (count, 4) and int(kept.sum()) == len(expected)
  np.testing.assert_array_equal(best[: len(expected)], scores[expected])
  np.testing.assert_array_equal(places[: len(expected)], found[expected])
  assert not kept[len(expected) :].any() and not best[len(expected) :].any()


def test_suppression_runs_under_vmap():
  many = [_drawn(seed, 30) for seed in range(3)]
  scores, found = (jnp.stack(x) for x in zip(*many, strict=True))
  together = jax.vmap(lambda s, b: suppress(s, b, count=6))(scores, found)
  for i in range(3):
    alone = suppress(scores[i], found[i], count=6)
    assert all(np.array_equal(x[i], y) for x, y in zip(together, alone, strict=True))


def test_no_score_of_the_least_keeps_nothing():
  scores, found = _drawn(0, 4)
  best, _, kept = boxes.non_maximum_suppression(jnp.asarray(scores), jnp.asarray(found), count=3, least=1.0)
  assert not kept.any() and not best.any()


def test_centres_are_those_of_the_cells():
  centres, strides = boxes.grid_centres(416, (8, 16, 32))
  assert centres.shape == (3549, 2) and strides.shape == (3549,)
  np.testing.assert_array_equal(centres[52 * 52 + 27], [1.5 * 16, 1.5 * 16])  # row 1, column 1 of 26
