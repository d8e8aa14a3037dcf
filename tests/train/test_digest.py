"""The digest of an array: of its bits, its shape and its dtype; not of how it lies on devices."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vita_jax.train.digest import digests


def _digest(x):
  return digests({"x": jnp.asarray(x)})["x"]


def test_it_is_the_stated_sum():
  x = np.array([3, 5, 2**32 - 1], np.uint32)
  mask = 2**64 - 1

  def weight(i):
    mixed = (i + 1) * 0x9E3779B97F4A7C15 & mask
    return ((mixed ^ (mixed >> 29)) * 0xBF58476D1CE4E5B9 & mask) | 1

  import zlib

  total = sum(weight(i) * int(b) for i, b in enumerate(x)) & mask
  assert _digest(x) == f"{total ^ zlib.crc32(b'uint32(3,)'):016x}"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8", "bool", "uint32"])
def test_every_single_bit_counts(dtype):
  x = jnp.asarray(np.arange(40) % 2, dtype)
  content, seen = np.array(x), {_digest(x)}
  raw = content.view(np.uint8)
  bits = range(1) if dtype == "bool" else range(8)  # a bool has one bit
  for byte in range(0, raw.size, 3):
    for bit in bits:
      raw[byte] ^= 1 << bit
      seen.add(_digest(content))
      raw[byte] ^= 1 << bit
  assert len(seen) == 1 + len(bits) * len(range(0, raw.size, 3))


def test_order_shape_and_dtype_count_and_keys_are_their_bits():
  x = np.arange(6, dtype=np.float32)
  others = [x[::-1], x.reshape(2, 3), x.reshape(3, 2), x.astype(np.int32), np.roll(x, 1), x[:5]]
  assert len({_digest(y) for y in [x, *others]}) == 7
  assert _digest(np.float32(2)) != _digest(np.float32([2]))
  keys = digests(
    {"a": jax.random.key(1), "b": jax.random.key(2), "c": jax.random.split(jax.random.key(1), 3)}
  )
  assert len(set(keys.values())) == 3


SCRIPT = """
from vita_jax.train.mesh import make_mesh, use_cpu_devices
use_cpu_devices(4)
import jax, numpy as np
from jax.sharding import NamedSharding, PartitionSpec as P
from vita_jax.train.digest import digests
mesh = make_mesh({"seed": 2, "data": 2, "model": 1})
x = np.random.default_rng(0).normal(size=(32, 12, 6)).astype(np.float32)
specs = [P(), P("seed"), P("data", None, "seed"), P(None, "data"), P(("seed", "data")), P(None, None, "data")]
print(len({digests({"x": jax.device_put(x, NamedSharding(mesh, spec))})["x"] for spec in specs}))
"""


def test_it_does_not_depend_on_the_layout():
  path = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
  command = [sys.executable, "-c", SCRIPT]
  done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path})
  assert done.stdout.strip() == "1", done.stderr[-2000:]
