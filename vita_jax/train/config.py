"""The configuration every experiment shares, its hash, and the versions a run is recorded with."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import subprocess
from pathlib import Path
from typing import Any

import ml_collections

from vita_jax.base.keys import Key, Rule, any_path, at_least, between, check, defaults, flat, one_of, text

# Where and how often a run computes, logs and saves does not change what it computes.
NOT_HASHED = ("mesh", "steps_per_call", "save_seconds", "keep_checkpoints", "cache_dir")
_AXIS = Rule("a whole number, at least 1, or -1", lambda size: size == -1 or at_least(1).holds(size))
KEYS = (
  Key("paper", "", text("the name of a paper"), "Name of the paper; its config file sets it."),
  Key("seed", 0, between(0, 2**32 - 1), "The first seed."),
  Key("seeds", 1, between(1, 2**16), "How many seeds: `seed` to `seed + seeds - 1`."),
  Key("replicate", "vmap", one_of("vmap", "map"), "Several seeds side by side, or one after the other."),
  Key("dtype", "float32", one_of("float32", "bfloat16"), "Of the computation; parameters stay float32."),
  Key("mesh.seed", 1, _AXIS, "Devices along which seeds are spread; -1 takes those that are left."),
  Key("mesh.data", -1, _AXIS, "Devices along which the rows of a batch are spread; -1: those left."),
  Key("mesh.model", 1, _AXIS, "Devices along which weights are spread; -1 takes those that are left."),
  Key("on_nonfinite", "stop", one_of("stop", "skip"), "Stop at a step that is not finite, or leave it out."),
  Key("init_from", "", any_path, "Workdir of a finished run whose weights are the start; empty: none."),
  Key("log_every", 100, at_least(0), "Steps between training rows in the logs; 0: only at a stage's end."),
  Key(
    "steps_per_call", 0, between(0, 2**31 - 1), "Steps in one compiled call; 0 chooses by the measured speed."
  ),
  Key("save_seconds", 60.0, at_least(0), "Seconds between checkpoints."),
  Key("keep_checkpoints", 3, at_least(1), "How many of the last checkpoints stay."),
)
PACKAGES = ("vita_jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def base_config() -> ml_collections.ConfigDict:
  """Returns the fields that mean the same in every experiment (see `KEYS`) with their defaults."""
  return defaults(KEYS)


def check_config(config: ml_collections.ConfigDict) -> None:
  """Checks the fields of `base_config`; a paper's `build` checks its own.

  Raises:
    ValueError: a value that a field cannot have.
  """
  shared = {key.name.partition(".")[0] for key in KEYS}
  check({name: config[name] for name in config if name in shared}, KEYS)
  if config.seed + config.seeds > 2**32:
    raise ValueError(f"config.seed is {config.seed}: seeds must be below 2**32")


def as_dict(config: ml_collections.ConfigDict) -> dict[str, Any]:
  """Returns the resolved configuration as plain JSON-able values."""
  return json.loads(config.to_json_best_effort())


def config_hash(config: dict[str, Any]) -> str:
  """Returns 16 hex digits that two configurations share when they compute the same thing."""
  kept = {k: v for k, v in config.items() if k not in NOT_HASHED}
  return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:16]


def config_difference(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
  """Returns the dotted names of the hashed fields in which two configurations differ."""
  left, right = flat(one), flat(other)
  names = sorted(left.keys() | right.keys())
  return [n for n in names if n.split(".")[0] not in NOT_HASHED and left.get(n) != right.get(n)]


def versions() -> dict[str, str]:
  """Returns the versions of the packages that decide the numbers, and the commit of a source checkout."""
  found = {}
  for package in PACKAGES:
    try:
      found[package] = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
      found[package] = "not installed"
  root = Path(__file__).resolve().parents[2]
  if (root / ".git").exists():
    found["commit"] = _commit(root)
  return found


def _commit(root: Path) -> str:
  command = ["git", "-C", str(root), "rev-parse", "HEAD"]
  try:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
  except OSError:  # git is not installed
    return "unknown"
  return result.stdout.strip() or "unknown"
