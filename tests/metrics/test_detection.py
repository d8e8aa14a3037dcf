"""Overlap and average precision: cases by hand, and a second way of computing them."""

import contextlib
import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax.metrics import Found, average_precision, box_areas, box_iou

HERE, THERE, AWAY = [0.0, 0.0, 10.0, 10.0], [20.0, 0.0, 30.0, 10.0], [50.0, 50.0, 60.0, 60.0]


def test_overlap_of_boxes():
  a = jnp.array([HERE, [0, 0, 0, 0], [3, 3, 1, 1]])
  b = jnp.array([[5.0, 0, 15, 10], HERE, [2, 2, 4, 4]])
  expected = [[1 / 3, 1.0, 0.04], [0, 0, 0], [0, 0, 0]]
  np.testing.assert_allclose(box_iou(a, b), expected, rtol=1e-6)
  np.testing.assert_array_equal(box_areas(a), [100, 0, 0])
  assert box_iou(jnp.zeros((2, 3, 4)), jnp.zeros((2, 5, 4))).shape == (2, 3, 5)


def test_overlap_by_numpy_equals_that_by_jax_and_compiles_nothing():
  rng = np.random.default_rng(0)
  a, b = (rng.uniform(0, 9, (3, n, 4)).astype(np.float32) for n in (7, 11))
  found = box_iou(a, b)
  assert isinstance(found, np.ndarray) and isinstance(box_areas(a), np.ndarray)
  np.testing.assert_array_equal(found, box_iou(jnp.asarray(a), jnp.asarray(b)))
  np.testing.assert_allclose(jax.jit(box_iou)(a, b), found, rtol=1e-6)
  with jax.log_compiles(), _compilations() as names:
    for n in (2, 3, 5):
      box_iou(a[:, :n], b)
      average_precision([Found(np.arange(n) / n, a[0, :n])], [b[0]])
  assert not names


@contextlib.contextmanager
def _compilations():
  """The lines that JAX logs of what it compiles."""
  names, logger = [], logging.getLogger("jax")
  handler = logging.Handler()
  handler.emit = lambda record: names.append(record.getMessage()) if "ompil" in record.getMessage() else None
  logger.addHandler(handler)
  try:
    yield names
  finally:
    logger.removeHandler(handler)


def test_all_found_is_one_and_nothing_found_is_zero():
  true = [np.array([HERE, THERE]), np.array([AWAY])]
  perfect = [Found([0.2, 0.9], [THERE, HERE]), Found([0.5], [AWAY])]
  assert average_precision(perfect, true) == 1.0
  assert average_precision([Found([], np.zeros((0, 4)))] * 2, true) == 0.0
  assert average_precision([Found([0.9], [AWAY]), Found([0.9], [HERE])], true) == 0.0


def test_by_hand():
  """Right, wrong, right of three true boxes: precision 1 up to recall 1/3, then 2/3 up to 2/3."""
  true = [np.array([HERE, THERE]), np.array([AWAY])]
  found = [Found([0.9, 0.8, 0.7], [HERE, AWAY, THERE]), Found([], np.zeros((0, 4)))]
  assert average_precision(found, true) == pytest.approx(1 / 3 + 2 / 3 * 1 / 3)


def test_a_second_box_on_the_same_person_is_wrong():
  near = [1.0, 0.0, 11.0, 10.0]
  assert average_precision([Found([0.9, 0.8], [HERE, near])], [np.array([HERE])]) == 1.0
  both = [np.array([HERE]), np.array([THERE])]
  twice = [Found([0.9, 0.8], [HERE, near]), Found([0.7], [THERE])]
  assert average_precision(twice, both) == pytest.approx(1 / 2 + 2 / 3 * 1 / 2)


def test_the_threshold_is_included():
  half = [0.0, 0.0, 5.0, 10.0]
  assert average_precision([Found([1.0], [half])], [np.array([HERE])]) == 1.0
  assert average_precision([Found([1.0], [half])], [np.array([HERE])], threshold=0.51) == 0.0


def test_the_area_is_that_of_a_fine_grid():
  rng = np.random.default_rng(0)
  true = [np.array([HERE, THERE])] * 20
  found = []
  for _ in true:
    picked = rng.permutation([HERE, THERE, AWAY, [70, 70, 80, 80]])[: rng.integers(0, 5)]
    found.append(Found(rng.uniform(size=len(picked)), picked.reshape(-1, 4)))
  scores = np.concatenate([one.scores for one in found])
  right = np.concatenate([[box[0] < 40 for box in one.boxes] for one in found]).astype(bool)
  hits = np.cumsum(right[np.argsort(-scores)])
  recall, precision = hits / 40, hits / np.arange(1, len(hits) + 1)
  grid = (np.arange(40_000) + 0.5) / 40_000
  area = np.mean([precision[recall >= r].max() if (recall >= r).any() else 0.0 for r in grid])
  assert average_precision(found, true) == pytest.approx(area, abs=1e-4)


def test_what_has_no_answer_is_refused():
  with pytest.raises(ValueError, match="no true box in any image"):
    average_precision([Found([1.0], [HERE])], [np.zeros((0, 4))])
  with pytest.raises(ValueError, match="detections of 1 images, and true boxes of 2"):
    average_precision([Found([1.0], [HERE])], [np.array([HERE])] * 2)
  with pytest.raises(ValueError, match="a score is NaN"):
    average_precision([Found([np.nan], [HERE])], [np.array([HERE])])
