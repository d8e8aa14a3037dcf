"""A tiny random generator as launch/export.py leaves it: programs of floats and of integers, with weights."""

from pathlib import Path

import jax
import jax.numpy as jnp

from vita_jax.compress.integer import integer_program
from vita_jax.nn.gan import ResnetGenerator, ResnetWidths
from vita_jax.nn.picture_programs import FLOAT, INT8
from vita_jax.nn.quantize import Quant
from vita_jax.train.experiment import Exported
from vita_jax.train.program_file import write_program
from vita_jax.train.weights import save_params

SIZES = ("n, 4*h + 4, 4*w + 4, 3", "float32")
GENERATOR = ResnetGenerator(ResnetWidths(3, (4, 5), (4,), (4, 3)), form="native")


def variables(seed=0):
  """Random variables of the generator."""
  return GENERATOR.init(jax.random.key(seed), jnp.zeros((1, 16, 16, 3)))


def write_small_export(folder: Path):
  """Writes both programs into a folder; returns the functions images -> images that they should be."""
  params = variables()["params"]
  integer, arrays = integer_program(GENERATOR.clone(quant=Quant()), {"params": params})
  programs = {
    FLOAT: (lambda p, image: {"picture": GENERATOR.apply({"params": p}, image)}, params),
    INT8: (lambda p, image: {"picture": integer(p, image)}, arrays),
  }
  folder.mkdir(parents=True, exist_ok=True)
  for (program, weights), (function, tree) in programs.items():
    exported = Exported(tree, function, {"image": SIZES}, read=lambda path: {})
    write_program(folder / program, exported, platforms=["cpu"])
    save_params(folder / weights, tree)
  return (
    jax.jit(lambda x: GENERATOR.apply({"params": params}, x)),
    jax.jit(lambda x: integer(arrays, x)),
  )
