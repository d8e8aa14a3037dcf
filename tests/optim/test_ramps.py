"""Ramps and rates against numbers by hand."""

from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax.optim.dm import preprocess
from vita_jax.optim.ema import ema_decay, ema_update
from vita_jax.optim.optimizees import late_log_loss, optimize, sample_images
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


@pytest.mark.parametrize(
  ("call", "name"),
  [
    (lambda: ramp_up(1, peak=-1.0), "peak"),
    (lambda: ramp_up(1, length=0), "length"),
    (lambda: ramp_up(1, shift=np.nan), "shift"),
    (lambda: cosine_rate(1, peak=np.nan, epochs=3), "peak"),
    (lambda: cosine_rate(1, peak=0.1, epochs=0), "epochs"),
    (lambda: ema_decay(jnp.int32(1), max_decay=1.01), "max_decay"),
    (lambda: ema_update(0.0, 1.0, jnp.int32(1), max_decay=-0.5), "max_decay"),
    (lambda: late_log_loss(jnp.ones(5), window=0), "window"),
    (lambda: optimize(None, None, None, None, steps=0), "steps"),
    (lambda: sample_images({}, None, 0), "batch_size"),
    (lambda: sample_images({}, None, 1.5), "batch_size"),
    (lambda: preprocess(jnp.ones(2), k=0.0), "k"),
  ],
)
def test_numbers_that_cannot_be_are_refused_by_name(call, name):
  with pytest.raises(ValueError, match=f"^{name} is .*: it must be a"):
    call()
