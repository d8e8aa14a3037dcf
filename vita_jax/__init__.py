"""vita_jax: ten 2020 papers as clean, fast, composable JAX. Importing this costs next to nothing."""

__version__ = "0.1.0"
