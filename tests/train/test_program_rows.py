"""A program over a user's data, some rows after the other."""

import numpy as np
import pytest

from vita_jax.train.experiment import Exported
from vita_jax.train.program_file import run_program


@pytest.mark.parametrize("rows", [0, 1, 3, 4, 10, 64])
def test_rows_come_back_in_order_and_whole(rows):
  traced = []

  def program(params, *, x, y):
    traced.append(x.shape[0])
    return {"sum": x.sum(1) * params + y, "both": x}

  exported = Exported(2.0, program, {}, None, rows_per_call=rows)
  x, y = np.arange(20.0).reshape(10, 2), np.arange(10.0)
  found = run_program(exported, {"x": x, "y": y})
  np.testing.assert_array_equal(found["sum"], 2 * x.sum(1) + y)
  np.testing.assert_array_equal(found["both"], x)
  assert traced == [rows or 10]  # compiled once
