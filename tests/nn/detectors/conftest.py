"""One picture with one person (a CC0 body before a CC-BY photograph, see NOTICE); published weights."""

import os
from pathlib import Path

import jax.numpy as jnp
import pytest

from vita_jax.data import read_image
from vita_jax.data.sources import source_files

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.fixture(scope="session")
def picture():
  """float32 [1, 416, 416, 3] in [0, 1]."""
  return jnp.asarray(read_image(FIXTURES / "picture.webp"), jnp.float32)[None] / 255.0


@pytest.fixture(scope="session")
def published():
  """name of a source -> file name -> path; skips where the files are not there."""

  def find(name):
    files = source_files(name) if os.environ.get("VITA_DATA_DIR") else None
    if files is None:
      pytest.skip(f"the files of {name} are not under $VITA_DATA_DIR")
    return {path.name: path for path in files.values()}

  return find


@pytest.fixture(scope="session")
def fixtures():
  return FIXTURES
