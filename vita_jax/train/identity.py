"""What makes two runs the same: their config, their data and their code. It is recorded, and compared.

At a start all processes of a run compare theirs; a resume and an evaluation compare with what a checkpoint
was saved with.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

import vita_jax
from vita_jax.base.hashing import arrays_sha256
from vita_jax.base.keys import flat
from vita_jax.base.tree import named_leaves
from vita_jax.data.resident import Resident
from vita_jax.data.stream import Stream
from vita_jax.train import cluster
from vita_jax.train.batches import stage_data
from vita_jax.train.config import config_difference, config_hash, versions
from vita_jax.train.errors import RunError
from vita_jax.train.experiment import Experiment

ROWS = 8  # of a Stream that its fingerprint reads


class Identity(NamedTuple):
  """The resolved config of a run, the digests of its data by name, and versions of packages.

  `arrays` has the checksum of each array of those data, to name the one that changed.
  """

  config: dict[str, Any]
  data: dict[str, str]
  versions: dict[str, str]
  arrays: dict[str, dict[str, int]] = {}  # noqa: RUF012  never changed in place

  def facts(self) -> dict[str, Any]:
    """Returns as JSON what config.json and each checkpoint record."""
    facts = {"config": self.config, "config_hash": config_hash(self.config)}
    return {**facts, "data": self.data, "arrays": self.arrays, "versions": self.versions}


def identity_of(experiment: Experiment, config: dict[str, Any]) -> Identity:
  """Computes the identity of a run; reads all Resident data and a few rows of each Stream."""
  content = _content(experiment)
  digests = {name: arrays_sha256(arrays)[:16] for name, arrays in content.items()}
  checksums = {
    name: {leaf: zlib.crc32(x.tobytes()) for leaf, x in arrays.items()} for name, arrays in content.items()
  }
  return Identity(config, digests, versions(), checksums)


def data_digests(experiment: Experiment) -> dict[str, str]:
  """Returns 16 hex digits for each data of an experiment, by `<stage>[.<name in also>]` or `eval <name>`.

  Data that several stages share has the name of the first.
  """
  return {name: arrays_sha256(arrays)[:16] for name, arrays in _content(experiment).items()}


def _content(experiment: Experiment) -> dict[str, dict[str, np.ndarray]]:
  named = {
    stage.name + (f".{name}" if name != "data" else ""): data
    for stage in experiment.stages
    for name, data in stage_data(stage).items()
  }
  named |= {f"eval {name}": one.data for name, one in experiment.evals.items()}
  found: dict[str, dict[str, np.ndarray]] = {}
  seen: set[int] = set()
  for name, data in named.items():
    content = data.arrays if isinstance(data, Resident) else data.source
    if id(content) not in seen:
      seen.add(id(content))
      found[name] = _sample(data)
  return found


def _sample(data: Resident | Stream) -> dict[str, np.ndarray]:
  """All arrays, or the number of rows and a few of them, as the source has them."""
  if isinstance(data, Resident):
    return _arrays(data.arrays)
  n = len(data.source)
  chosen = sorted({int(i) for i in np.linspace(0, n - 1, ROWS)})
  arrays = {"rows": np.asarray(n)}
  for i in chosen:
    row = data.source[i]
    arrays |= {f"{i}/{name}": leaf for name, leaf in _arrays(row).items()}
  return arrays


def _arrays(tree: Any) -> dict[str, np.ndarray]:
  return {name: _array(leaf) for name, leaf in named_leaves(tree).items()}


def _array(leaf: Any) -> np.ndarray:
  if isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
    leaf = jax.random.key_data(leaf)
  if isinstance(leaf, bytes | str):
    leaf = np.frombuffer(leaf if isinstance(leaf, bytes) else leaf.encode(), np.uint8)
  x = np.asarray(leaf)
  if x.dtype != object:
    return x
  text = json.dumps(x.tolist(), default=lambda one: type(one).__name__)  # a repr may hold an address
  return np.frombuffer(text.encode(), np.uint8)


def check_same(
  found: Mapping[str, Any], identity: Identity, *, what: str, remedy: str = "use another --workdir"
) -> None:
  """Compares the recorded facts of a run with those of now; facts that were not recorded are not compared.

  Args:
    found: the facts that were recorded.
    identity: of now.
    what: where they were recorded, e.g. "runs/x".
    remedy: against another config.

  Raises:
    RunError: `what` holds the run of another config, or its data has changed: the arrays and files are named.
  """
  config = found.get("config")
  if isinstance(config, dict) and config and config_hash(config) != config_hash(identity.config):
    names = ", ".join(config_difference(config, identity.config)[:4])
    raise RunError(f"{what} holds the run of another config (they differ in {names}): {remedy}")
  data = found.get("data")
  if isinstance(data, dict) and data and data != identity.data:
    changed = [n for n in (data | identity.data) if data.get(n) != identity.data.get(n)]
    names = "; ".join(name + _changed_arrays(name, found.get("arrays"), identity) for name in changed[:4])
    files = "".join(f"; read from {file}" for file in _files(identity.config))
    raise RunError(
      f"{what} holds the run of other data (what changed since: {names}{files}): bring back its data, or use"
      " another --workdir"
    )


def _changed_arrays(name: str, recorded: Any, identity: Identity) -> str:
  """Returns e.g. ", its features, labels": which arrays of a data differ; "" where that was not recorded."""
  old, new = recorded.get(name) if isinstance(recorded, dict) else None, identity.arrays.get(name)
  if not isinstance(old, dict) or not isinstance(new, dict):
    return ""
  differ = [leaf for leaf in (old | new) if old.get(leaf) != new.get(leaf)]
  return f", its {', '.join(differ[:4])}" if differ else ""


def _files(config: Mapping[str, Any]) -> list[str]:
  """The keys of a config that name files or folders, with their values."""
  named = {key: value for key, value in flat(config).items() if isinstance(value, str) and value}
  own = ("init_from", "cache_dir")
  return [f"config.{k}={v}" for k, v in named.items() if os.sep in v and k not in own and os.path.exists(v)]


def version_changes(found: Mapping[str, Any], identity: Identity) -> str:
  """Returns e.g. "jax 0.9 (now 0.10), commit 1234567 (now 89abcde)": what recorded facts say; "" for none."""
  old, new = found.get("versions"), identity.versions
  if not isinstance(old, dict):
    return ""
  names = [name for name in (old | new) if old.get(name) != new.get(name)]
  return ", ".join(f"{n} {_short(old.get(n))} (now {_short(new.get(n))})" for n in names)


def _short(version: Any) -> str:
  text = str(version or "unknown")
  return text[:7] if len(text) == 40 else text


def check_processes(identity: Identity, workdir: Path) -> None:
  """Refuses a run whose processes do not have the same config, data, code and workdir; all must call it.

  Raises:
    RunError: in all of them, naming the first difference.
  """
  if not cluster.joined():
    return
  local = ("cache_dir",)  # may lie elsewhere on each host
  ours = {f"config.{k}": repr(v) for k, v in flat(identity.config).items() if k.split(".")[0] not in local}
  ours |= {f"the data '{name}'": digest for name, digest in identity.data.items()}
  ours |= {f"the version of {name}": version for name, version in identity.versions.items()}
  ours |= {"the code of vita_jax": _code_digest(), "--workdir": os.path.abspath(workdir)}
  first, *others = (json.loads(text) for text in cluster.exchange(json.dumps(ours)))
  for number, theirs in enumerate(others, 1):
    for name in first | theirs:
      if first.get(name) != theirs.get(name):
        raise RunError(
          f"the processes do not run the same: {name} is {theirs.get(name, 'missing')} in process {number}"
          f" and {first.get(name, 'missing')} in process 0; start all with the same command, code and data"
        )


def _code_digest() -> str:
  folder, digest = Path(vita_jax.__file__).parent, hashlib.sha256()
  for path in sorted(folder.rglob("*.py")):
    digest.update(f"{path.relative_to(folder)} {path.stat().st_size}\n".encode())
    digest.update(path.read_bytes())
  return digest.hexdigest()[:16]
