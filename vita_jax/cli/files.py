"""Config files and suites: found by path or among those of the package, imported; faults are one line."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from ml_collections import ConfigDict

from vita_jax.base.choose import hint
from vita_jax.base.files import load_python_file

# `configs` and `launch` are here: in a checkout as links, in a wheel as folders.
HERE = Path(__file__).parents[1]


def find_config(path: str) -> Path:
  """Returns the config file that `path` names: as it is given, else among the configs of the package.

  `ss_gcn/citeseer.py` and `configs/ss_gcn/citeseer.py` name the same shipped file from any folder.

  Raises:
    FileNotFoundError, IsADirectoryError: there is no such file; the message names the nearest ones.
  """
  return _find(path, "config files are configs/<paper>/*.py", suites=False)


def find_suite(path: str) -> Path:
  """Returns the suite of launch/table.py that `path` names, as `find_config` does a config."""
  return _find(path, "suites are configs/<paper>/table*.py", suites=True)


def load_python(path: Path) -> ModuleType:
  """Imports a config or a suite by its path.

  Raises:
    ValueError: what it raises; the message names the line, unless it is a ValueError or OSError of its own.
  """
  with faults_of(path):
    return load_python_file(path)


def load_config(path: Path, argument: str | None = None) -> ConfigDict:
  """Returns what `get_config(argument)` of a config file returns.

  Raises:
    ValueError: the file has no `get_config`, returns something else, or fails; see `load_python`.
  """
  module = load_python(path)
  if not hasattr(module, "get_config"):
    if hasattr(module, "get_suite"):
      raise ValueError(f"{path} is a suite, for launch/table.py --suite={path}")
    raise ValueError(f"{path} is no config: it must define get_config(), see configs/ss_gcn/custom.py")
  with faults_of(path):
    config = module.get_config(argument) if argument is not None else module.get_config()
  if not isinstance(config, ConfigDict):
    kind = type(config).__name__
    raise ValueError(f"{path} is no config: get_config() returns {kind}, and must return a ConfigDict")
  return config


@contextlib.contextmanager
def faults_of(path: Path) -> Iterator[None]:
  """Turns an exception of a user's Python file into a ValueError of one line with its place in that file."""
  try:
    yield
  except (ValueError, OSError):  # it speaks to the user: an unknown argument, a file that is missing
    raise
  except SyntaxError as error:
    raise ValueError(f"{error.filename}, line {error.lineno}: {error.msg}") from error
  except Exception as error:
    lines = [at.lineno for at in traceback.extract_tb(error.__traceback__) if at.filename == str(path)]
    place = f"{path}, line {lines[-1]}" if lines else str(path)
    raise ValueError(f"{place}: {type(error).__name__}: {error}") from error


def _find(path: str, known_as: str, *, suites: bool) -> Path:
  if not path:
    raise FileNotFoundError(f"no file is named: {known_as}")
  given, shipped = Path(path), HERE / "configs"
  inside = Path(*given.parts[1:]) if given.parts[:1] == ("configs",) else given
  for candidate in (given, shipped / inside):
    if candidate.is_file():
      return candidate
  for folder in (given, shipped / inside):
    if folder.is_dir():
      found = sorted(file.name for file in folder.glob("*.py"))
      names = ", ".join(name for name in found if name.startswith("table") == suites) or "none"
      raise IsADirectoryError(f"{path} is a folder: name one of its Python files ({names})")
  files = [file for file in sorted(shipped.glob("*/*.py")) if file.name.startswith("table") == suites]
  near = hint(str(inside), [file.relative_to(shipped).as_posix() for file in files])
  raise FileNotFoundError(f"cannot read {path}: {known_as}{near}")
