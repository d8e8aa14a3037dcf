"""Layers and modules that several papers share: `vita_jax.nn.bert`, `vita_jax.nn.graph`, ..."""

from vita_jax._lazy import submodules

__getattr__, __dir__ = submodules(__name__)
__all__ = [name for name in __dir__() if not name.startswith("_") and name != "submodules"]
