"""Reading one call late: what is known when, and which rows come out."""

import numpy as np
import pytest

from vita_jax.metrics import Last
from vita_jax.train.lagged import Chunk, LaggedReader, NotFinite
from vita_jax.train.programs import Cursor


def _chunk(until, *, reached=None, log=False, bad=False, observed=None):
  at = until if reached is None else reached
  sums = {"loss": (np.float32(2 * until), np.float32(2))}
  if observed is not None:
    sums["validation_loss"] = Last(*(np.float32(x) for x in observed))
  return Chunk(until, Cursor(np.int32(at), np.int32(bad), np.int32(0)), sums, log)


def _reader(at, steps, *, lag):
  return LaggedReader(at, steps, lag=lag, failed=lambda bad: bad > 0)


def test_a_chunk_is_read_when_the_next_was_dispatched():
  reader = _reader(0, 9, lag=1)
  reader.add(_chunk(3))
  assert list(reader.read()) == [] and reader.landed == 0
  reader.add(_chunk(6, log=True))
  assert list(reader.read()) == [] and reader.landed == 3
  assert list(reader.read(everything=True)) == [(6, {"loss": (6 + 12) / 4})] and reader.landed == 6
  assert list(reader.rest()) == [] and not reader.over


def test_a_stage_that_ends_early_is_over_and_what_follows_counts_nothing():
  reader = _reader(0, 9, lag=1)
  reader.add(_chunk(5, reached=4))
  reader.add(_chunk(9, reached=4))
  assert list(reader.read()) == [(4, {"loss": 5.0})]
  assert reader.over and reader.landed == 4
  assert list(reader.read(everything=True)) == []


def test_the_last_step_ends_a_stage_and_a_finished_one_is_over_at_once():
  reader = _reader(6, 9, lag=0)
  reader.add(_chunk(9))
  assert list(reader.read()) == [(9, {"loss": 9.0})] and reader.over
  assert _reader(9, 9, lag=1).over


def test_a_step_that_is_not_finite_is_raised_with_its_sums_when_it_is_read():
  reader = _reader(0, 9, lag=1)
  reader.add(_chunk(3, reached=2, bad=True))
  reader.add(_chunk(6, reached=2))
  with pytest.raises(NotFinite):
    list(reader.read())
  assert reader.landed == 2 and reader.sums["loss"] == (6, 2)


def test_an_observation_is_a_row_of_its_own_step_and_no_mean():
  reader = _reader(0, 9, lag=0)
  for until, observed in ((3, (0.5, 1, 2)), (6, (0.25, 1, 5)), (9, (0, 0, 0))):
    reader.add(_chunk(until, log=until == 9, observed=observed))
    rows = list(reader.read())
  assert rows == [(5, {"validation_loss": 0.25}), (9, {"loss": (6 + 12 + 18) / 6})]
  reader = _reader(0, 9, lag=0)
  reader.add(_chunk(9, observed=(0.5, 1, 9)))
  assert list(reader.read()) == [(9, {"loss": 9.0, "validation_loss": 0.5})]
  reader = _reader(0, 9, lag=0)
  reader.add(_chunk(9, observed=(0, 0, 0)))
  assert list(reader.read()) == [(9, {"loss": 9.0})]
