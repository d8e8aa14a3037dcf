"""Reading one call late: what is known when, and which rows come out."""

import numpy as np
import pytest

from vita_jax.train.lagged import Chunk, LaggedReader, NotFinite
from vita_jax.train.programs import Cursor


def _chunk(until, *, reached=None, log=False, bad=False):
  at = until if reached is None else reached
  sums = {"loss": (np.float32(2 * until), np.float32(2))}
  return Chunk(until, Cursor(np.int32(at), np.bool_(bad)), sums, log)


def test_a_chunk_is_read_when_the_next_was_dispatched():
  reader = LaggedReader(0, 9, lag=1)
  reader.add(_chunk(3))
  assert list(reader.read()) == [] and reader.landed == 0
  reader.add(_chunk(6, log=True))
  assert list(reader.read()) == [] and reader.landed == 3
  assert list(reader.read(everything=True)) == [{"loss": (6 + 12) / 4}] and reader.landed == 6
  assert list(reader.rest()) == [] and not reader.over


def test_a_stage_that_ends_early_is_over_and_what_follows_counts_nothing():
  reader = LaggedReader(0, 9, lag=1)
  reader.add(_chunk(5, reached=4))
  reader.add(_chunk(9, reached=4))
  assert list(reader.read()) == [{"loss": 5.0}]
  assert reader.over and reader.landed == 4
  assert list(reader.read(everything=True)) == []


def test_the_last_step_ends_a_stage_and_a_finished_one_is_over_at_once():
  reader = LaggedReader(6, 9, lag=0)
  reader.add(_chunk(9))
  assert list(reader.read()) == [{"loss": 9.0}] and reader.over
  assert LaggedReader(9, 9, lag=1).over


def test_a_step_that_is_not_finite_is_raised_with_its_sums_when_it_is_read():
  reader = LaggedReader(0, 9, lag=1)
  reader.add(_chunk(3, reached=2, bad=True))
  reader.add(_chunk(6, reached=2))
  with pytest.raises(NotFinite) as error:
    list(reader.read())
  assert reader.landed == 2 and error.value.sums["loss"] == (6, 2)
