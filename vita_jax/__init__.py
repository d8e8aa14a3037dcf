"""vita_jax: ten 2020 papers as clean, fast, composable JAX. Importing this costs next to nothing.

Every public name is reached by attribute, and imported at first use:

  >>> import numpy as np, vita_jax
  >>> vita_jax.metrics.auc(np.array([0.1, 0.8, 0.4]), np.array([False, True, True]))
  1.0
"""

from vita_jax._lazy import submodules

__version__ = "0.1.0"
__all__ = [
  "attacks",
  "audit",
  "base",
  "compress",
  "data",
  "hands",
  "losses",
  "metrics",
  "models",
  "nn",
  "optim",
  "papers",
  "pose",
  "render",
  "report",
  "search",
  "train",
]

__getattr__, __dir__ = submodules(__name__)
