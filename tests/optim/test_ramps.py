"""Ramps and rates against numbers by hand."""

from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax.optim.ramps import cosine_rate, ramp_up


def test_ramp_and_learning_rate():
  ramp = [float(ramp_up(e)) for e in (0, 30, 50, 199, 430, 1000)]
  np.testing.assert_allclose(ramp, [0.0020214, 0.0020214, 0.0032914, 0.056614, 0.3, 0.3], rtol=1e-4)
  rate = partial(cosine_rate, peak=5e-4, epochs=200)
  np.testing.assert_allclose(
    [rate(jnp.int32(e), ahead=True) for e in (0, 99)], [4.99969e-4, 2.5e-4], rtol=1e-5
  )
  assert rate(199, ahead=True) < 1e-11  # the last epoch would train with rate 0
  assert rate(0) == pytest.approx(5e-4) and rate(199) > 1e-8
