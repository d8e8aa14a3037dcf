"""The configuration every experiment shares, its hash, and the versions a run is recorded with."""

from __future__ import annotations

import difflib
import hashlib
import importlib.metadata
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_collections

# Where and how often a run computes, logs and saves does not change what it computes.
NOT_HASHED = ("mesh", "steps_per_call", "save_seconds", "keep_checkpoints", "cache_dir")
CHOICES = {
  "replicate": ("vmap", "map"),
  "dtype": ("float32", "bfloat16"),
  "on_nonfinite": ("stop", "skip"),
}
AT_LEAST = {
  "seed": 0,
  "seeds": 1,
  "log_every": 0,
  "steps_per_call": 0,
  "save_seconds": 0,
  "keep_checkpoints": 1,
}
PACKAGES = ("vita_jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def base_config() -> ml_collections.ConfigDict:
  """The fields that mean the same in every experiment.

  seed, seeds: runs the seeds `seed ... seed + seeds - 1`. replicate: "vmap" side by side | "map" one
  after the other. dtype: of the computation, "float32" | "bfloat16"; parameters stay float32. mesh:
  devices along `seed`, `data`, `model`; -1 fills what is left. on_nonfinite: "stop" the run | "skip"
  the step. init_from: a workdir whose final weights are the start, "" for none. log_every: steps
  between training rows in the logs. steps_per_call: steps in one compiled call, 0 chooses. save_seconds:
  time between checkpoints. keep_checkpoints: how many of the last ones stay.
  """
  return ml_collections.ConfigDict(
    {
      "paper": "",
      "seed": 0,
      "seeds": 1,
      "replicate": "vmap",
      "dtype": "float32",
      "mesh": {"seed": 1, "data": -1, "model": 1},
      "on_nonfinite": "stop",
      "init_from": "",
      "log_every": 100,
      "steps_per_call": 0,
      "save_seconds": 60.0,
      "keep_checkpoints": 3,
    }
  )


def choose(name: str, value: str, options: tuple[str, ...]) -> str:
  """The value, if it is one of the options.

  Raises:
    ValueError: it is not; names the nearest that is.
  """
  if value in options:
    return value
  near = difflib.get_close_matches(str(value), options, n=1, cutoff=0.0)[0]
  raise ValueError(f"unknown {name} '{value}': did you mean '{near}'? Choose one of {', '.join(options)}")


def check_config(config: ml_collections.ConfigDict) -> None:
  """Checks the fields of `base_config`.

  Raises:
    ValueError: a value that a field cannot have.
  """
  for name, options in CHOICES.items():
    choose(f"config.{name}", config[name], options)
  check_at_least(config, AT_LEAST)
  if config.seed + config.seeds > 2**32:
    raise ValueError(f"config.seed is {config.seed}: seeds have to be below 2**32")


def check_at_least(config: ml_collections.ConfigDict, limits: Mapping[str, float]) -> None:
  """Checks numbers of a config against what they have to be at least; names are dotted.

  Raises:
    ValueError: one that is less, or NaN.
  """
  for name, least in limits.items():
    value = config
    for part in name.split("."):
      value = value[part]
    if not value >= least:
      raise ValueError(f"config.{name} is {value}: it has to be at least {least}")


def as_dict(config: ml_collections.ConfigDict) -> dict[str, Any]:
  """The resolved configuration as plain JSON-able values."""
  return json.loads(config.to_json_best_effort())


def config_hash(config: dict[str, Any]) -> str:
  """16 hex digits that two configurations share when they compute the same thing."""
  kept = {k: v for k, v in config.items() if k not in NOT_HASHED}
  return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:16]


def config_difference(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
  """Dotted names of the hashed fields in which two configurations differ."""

  def flat(config, prefix=""):
    for name, value in config.items():
      if isinstance(value, dict):
        yield from flat(value, f"{prefix}{name}.")
      else:
        yield f"{prefix}{name}", value

  left, right = dict(flat(one)), dict(flat(other))
  names = sorted(left.keys() | right.keys())
  return [n for n in names if n.split(".")[0] not in NOT_HASHED and left.get(n) != right.get(n)]


def versions() -> dict[str, str]:
  """Versions of the packages that decide the numbers, and the commit of a source checkout."""
  found = {}
  for package in PACKAGES:
    try:
      found[package] = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
      found[package] = "not installed"
  root = Path(__file__).resolve().parents[2]
  if (root / ".git").exists():
    command = ["git", "-C", str(root), "rev-parse", "HEAD"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    found["commit"] = result.stdout.strip() or "unknown"
  return found
