"""PSNR and SSIM are those of scikit-image and torchmetrics (pictures.npz), on NumPy and on JAX."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax.metrics import ms_ssim, psnr, ssim

FILE = Path(__file__).parent / "fixtures" / "pictures.npz"


@pytest.fixture(scope="module")
def known():
  with np.load(FILE, allow_pickle=False) as file:
    return {name: file[name] for name in file.files}


def test_psnr_is_that_of_scikit_image(known):
  a, b = known["a"], known["b"]
  np.testing.assert_allclose(psnr(a, b, data_range=255), known["psnr"], rtol=1e-12)
  unit = psnr(jnp.asarray(a / 255, jnp.float32), jnp.asarray(b / 255, jnp.float32), data_range=1.0)
  np.testing.assert_allclose(unit, known["psnr"], rtol=1e-5)
  signed = psnr(a / 127.5 - 1, b / 127.5 - 1, data_range=2.0)
  np.testing.assert_allclose(signed, known["psnr"], rtol=1e-12)
  assert np.isinf(psnr(a, a, data_range=255)).all()


@pytest.mark.parametrize("window", ["gaussian", "uniform"])
def test_ssim_is_that_of_scikit_image(known, window):
  a, b, expected = known["a"], known["b"], known[f"ssim_{window}"]
  np.testing.assert_allclose(ssim(a, b, data_range=255, window=window), expected, rtol=1e-10)
  small = [jnp.asarray(x / 255, jnp.float32) for x in (a, b)]
  np.testing.assert_allclose(ssim(*small, data_range=1.0, window=window), expected, atol=2e-5)
  np.testing.assert_allclose(ssim(a, a, data_range=255, window=window), 1.0, rtol=1e-12)


def test_ms_ssim_is_that_of_torchmetrics(known):
  a, b = known["large_a"], known["large_b"]
  np.testing.assert_allclose(ms_ssim(a, b, data_range=255), known["ms_ssim"], rtol=1e-6)
  np.testing.assert_allclose(ms_ssim(a, a, data_range=255), 1.0, rtol=1e-12)
  # one scale is plain similarity
  np.testing.assert_allclose(ms_ssim(a, b, data_range=255, scales=(1.0,)), ssim(a, b, data_range=255))


def test_zeros_around_count_every_place():
  """Of constant pictures the first factor counts; with zeros around it is that of the padded pictures."""
  a, b = np.full((1, 20, 20, 1), 0.5), np.full((1, 20, 20, 1), 0.25)
  c1 = 1e-4
  np.testing.assert_allclose(ssim(a, b, data_range=1.0), (2 * 0.125 + c1) / (0.25 + 0.0625 + c1), rtol=1e-10)
  inner = np.pad(a, ((0, 0), (5, 5), (5, 5), (0, 0))), np.pad(b, ((0, 0), (5, 5), (5, 5), (0, 0)))
  np.testing.assert_allclose(ssim(a, b, data_range=1.0, border="zeros"), ssim(*inner, data_range=1.0))


def test_ssim_has_a_gradient_that_raises_it():
  rng = np.random.default_rng(0)
  a = jnp.asarray(rng.uniform(size=(1, 12, 12, 1)), jnp.float32)
  b = jnp.clip(a + 0.2 * jnp.asarray(rng.normal(size=a.shape), jnp.float32), 0, 1)
  similarity = jax.jit(jax.value_and_grad(lambda x: jnp.sum(ssim(a, x, data_range=1.0))))
  before, gradient = similarity(b)
  assert np.isfinite(gradient).all() and similarity(b + 0.1 * gradient)[0] > before
  assert np.isfinite(similarity(a)[1]).all()  # at its maximum, too


@pytest.mark.parametrize(
  ("function", "message"),
  [
    (lambda x: psnr(x, x[:, 1:], data_range=1.0), r"two times \[n, h, w, c\]"),
    (lambda x: psnr(x, x, data_range=0), "data_range is 0"),
    (lambda x: ssim(x[:, :9], x[:, :9], data_range=1.0), "9 x 12 are smaller than the window, 11"),
    (lambda x: ssim(x, x, data_range=1.0, window="gauss"), "did you mean 'gaussian'"),
    (lambda x: ms_ssim(x, x, data_range=1.0), "12 x 12 are too small for 5 scales: they need 176"),
  ],
)
def test_what_cannot_be_is_refused_in_one_line(function, message):
  with pytest.raises(ValueError, match=message) as error:
    function(np.zeros((1, 12, 12, 3)))
  assert "\n" not in str(error.value)
