"""Checks a name against the names there are, and says which one was probably meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, options: Iterable[str], *, cutoff: float = 0.5) -> str:
  """Returns the option that is spelled most like `name`, ignoring case; "" where none is close.

  Args:
    name: what was asked for.
    options: what there is.
    cutoff: the least similarity, 0 to 1 (that of `difflib.get_close_matches`).

  Examples:
    >>> nearest("Gama", ["gamma", "latent"])
    'gamma'
  """
  spelled = {str(option).lower(): str(option) for option in options}
  found = difflib.get_close_matches(str(name).lower(), spelled, n=1, cutoff=cutoff)
  return spelled[found[0]] if found else ""


def choose(name: str, value: str, options: Iterable[str]) -> str:
  """Returns the value if it is one of the options.

  Raises:
    ValueError: it is not; the message names the nearest option and lists all of them.
  """
  options = tuple(options)
  if value in options:
    return value
  near = nearest(value, options, cutoff=0.0)
  raise ValueError(f"unknown {name} '{value}': did you mean '{near}'? Choose one of {listed(options)}")


def listed(options: Iterable[str]) -> str:
  """Returns options as they are shown in a sentence: "citeseer, cora, or '' (empty)".

  Examples:
    >>> listed(["", "a", "b"]), listed(["a", "b"])
    ("a, b, or '' (empty)", 'a, b')
  """
  options = tuple(options)
  return ", ".join([*filter(None, options), *(["or '' (empty)"] if "" in options else [])])


def hint(name: str, options: Iterable[str]) -> str:
  """Returns ` (nearest: 'NAME')` to end a message with, or "" where no option is spelled like `name`."""
  near = nearest(name, options)
  return f" (nearest: '{near}')" if near else ""
