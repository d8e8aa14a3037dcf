"""Lets a package import its modules when they are first asked for; it imports nothing itself."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Callable
from typing import Any


def submodules(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
  """Returns `__getattr__` and `__dir__` of a package whose modules are imported at first use.

  With `__getattr__, __dir__ = submodules(__name__)` at the end of its `__init__.py`, `package.module` works
  after `import package` alone; modules whose name starts with "_" stay private.
  """

  def names() -> list[str]:
    found = pkgutil.iter_modules(sys.modules[package].__path__)
    return sorted(module.name for module in found if not module.name.startswith("_"))

  def get(name: str) -> Any:
    # Dunders are asked for by tools all the time, and are never files of ours.
    if not name.startswith("_") and name in names():
      return importlib.import_module(f"{package}.{name}")
    known = ", ".join(names())
    raise AttributeError(f"module '{package}' has no attribute '{name}': its modules are {known}")

  def listed() -> list[str]:
    offered = vars(sys.modules[package])
    return sorted({*offered, *offered.get("__all__", ()), *names()})

  return get, listed
