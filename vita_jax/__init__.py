"""vita_jax: ten 2020 papers as clean, fast, composable JAX. Importing this costs next to nothing."""

import importlib

__version__ = "0.1.0"

PARTS = (
  "audit",
  "base",
  "compress",
  "data",
  "losses",
  "metrics",
  "models",
  "nn",
  "optim",
  "papers",
  "report",
  "train",
)


def __getattr__(name):
  """Parts are imported at first use: `import vita_jax; vita_jax.optim.learned(...)`."""
  if name not in PARTS:
    raise AttributeError(f"module 'vita_jax' has no attribute '{name}': its parts are {', '.join(PARTS)}")
  return importlib.import_module(f"vita_jax.{name}")


def __dir__():
  return sorted([*globals(), *PARTS])
