"""What pixels see is the same whether it is computed at the pixels that see something, or at all of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax.render import seen

SIDE, FACES = 24, 5


def _shine(shared, tables, at, face, pixel):
  """One of each: a value of the face, by an index, of the pixel, of its number, and of a scalar."""
  value = shared["faces"][tables[face]] * at["share"] * shared["scale"]
  return {"value": value, "pair": jnp.stack([value, at["share"] ** 2 + 0.0 * pixel], axis=-1)}


@pytest.mark.parametrize("share", [0.0, 0.05, 0.9])
def test_a_list_of_pixels_gives_what_all_pixels_give(share, monkeypatch):
  rng = np.random.default_rng(0)
  face = np.where(rng.uniform(size=SIDE**2) < share, rng.integers(0, FACES, SIDE**2), -1)
  face, table = jnp.asarray(face, jnp.int32), jnp.arange(FACES)[::-1]
  shared = {"faces": jnp.asarray(rng.normal(size=FACES), jnp.float32), "scale": jnp.float32(2.0)}
  at = {"share": jnp.asarray(rng.normal(size=SIDE**2), jnp.float32)}
  weights = jnp.asarray(rng.normal(size=SIDE**2), jnp.float32)

  def run(small):
    monkeypatch.setattr(seen, "SMALL", small)

    @jax.jit
    def total(shared, at):
      out = seen.where_seen(_shine, shared, table, at, face)
      return jnp.sum((out["value"] + out["pair"][:, 1]) * weights) + jnp.sum(out["pair"] ** 2), out

    return jax.value_and_grad(total, (0, 1), has_aux=True)(shared, at)

  (_, every), slopes = run(SIDE**2 + 1)
  (_, few), others = run(0)
  jax.tree.map(np.testing.assert_array_equal, few, every)
  assert not np.any(np.asarray(every["pair"])[np.asarray(face) < 0])
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), slopes, others)
