"""Checkpoints: orbax, plus a digest per leaf, because orbax restores a flipped bit without a word.

One step directory holds the items `state` and `params` (flat dicts: '/'-joined path -> array) and
`progress` (JSON: where the run is, its identity, the digests).
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from vita_jax.base.files import remedy
from vita_jax.base.tree import named_leaves, path_name
from vita_jax.train.cluster import all_agree, on_main
from vita_jax.train.digest import digests
from vita_jax.train.errors import RunError


class Progress(NamedTuple):
  """Where a run is.

  Attributes:
    stage: its number.
    at: steps within the stage.
    step: steps over all stages.
    seconds: of training so far.
    bad: of each seed, how many steps in a row were not finite up to now; empty: none.
  """

  stage: int = 0
  at: int = 0
  step: int = 0
  seconds: float = 0.0
  bad: tuple[int, ...] = ()


@contextlib.contextmanager
def open_manager(workdir: Path, *, keep: int) -> Iterator[ocp.CheckpointManager]:
  """Opens `workdir/checkpoints`; what a kill left half-written there is removed.

  Raises:
    RunError: at the start or the end, where the disk is full or not writable.
  """
  options = ocp.CheckpointManagerOptions(
    max_to_keep=keep, create=True, enable_async_checkpointing=True, cleanup_tmp_directories=True
  )
  folder = Path(workdir).resolve() / "checkpoints"
  try:
    manager = ocp.CheckpointManager(folder, options=options)
  except OSError as error:
    raise RunError(
      f"cannot write to {folder}: {_cause(error)}; {remedy(error) or 'free some space'} and try again"
    ) from error
  try:
    yield manager
  except BaseException:
    with contextlib.suppress(Exception):  # what it has to say of a full disk was said: the first error counts
      manager.close()
    raise
  _writing(manager, manager.close)


def flatten(tree: Any) -> dict[str, Any]:
  """Returns '/'-joined path -> leaf, without zero-size leaves: orbax refuses them, and shapes recall them."""
  return {name: leaf for name, leaf in named_leaves(tree).items() if np.prod(leaf.shape) > 0}


def _checksum(facts: dict[str, Any]) -> int:
  return zlib.crc32(json.dumps(facts, sort_keys=True).encode())


def save(
  manager: ocp.CheckpointManager,
  progress: Progress,
  state: Any,
  params: Any,
  *,
  run: Mapping[str, Any],
) -> None:
  """Saves asynchronously; an error of the disk surfaces here, at the next save or in `finish`.

  In a run of several processes all must call it. `run` is what is recorded of the run, see `identity.facts`.

  Raises:
    RunError: the disk is full or not writable, or orbax refused the step.
  """
  if manager.latest_step() == progress.step:
    return
  flat = flatten(state)
  facts = {**run, **progress._asdict(), "bad": list(progress.bad), "digests": digests(flat)}
  facts["checksum"] = _checksum(facts)
  items = ocp.args.Composite(
    state=ocp.args.StandardSave(flat),
    params=ocp.args.StandardSave(flatten(params)),
    progress=ocp.args.JsonSave(facts),
  )
  if not _writing(manager, lambda: manager.save(progress.step, args=items)):
    raise RunError(
      f"orbax refused to save step {progress.step} in {manager.directory}: later steps are there already;"
      " start over in another --workdir"
    )


def finish(manager: ocp.CheckpointManager) -> None:
  """Waits until what was saved is on disk.

  Raises:
    RunError: it could not be written.
  """
  _writing(manager, manager.wait_until_finished)


def _writing(manager: ocp.CheckpointManager, action: Callable[[], Any]) -> Any:
  try:
    return action()
  except Exception as error:  # tensorstore and orbax raise many types for a disk that cannot be written
    leave_out_abandoned()
    good = good_steps(manager.directory)
    raise RunError(
      f"could not write a checkpoint to {manager.directory}: {_cause(error)}. The last good checkpoint is"
      f" {f'step {good[-1]}' if good else 'none'}; {remedy(error) or 'free some space'} and run the same"
      " command to resume"
    ) from error


def _cause(error: Exception) -> str:
  """What an error says in words: tensorstore puts them between paths of any length and dumps of its specs."""
  if isinstance(error, OSError) and error.strerror:
    return error.strerror
  line = (str(error).strip().splitlines() or [""])[0]
  if isinstance(error, json.JSONDecodeError):
    return f"no JSON: {line}"
  if "TensorStore details" in line:  # "error while reading array index", and the spec of the array
    return "unreadable array data"
  parts = re.sub(r" \[[\w ]+(\[\d+\])?='.*", "", line).split(": ")  # without "[tensorstore_spec[1]='{...}']"
  prose = (
    part for part in reversed(parts) if re.fullmatch(r"[A-Za-z][\w-]* [^{}<>=\\]*[a-z][^{}<>=\\]*", part)
  )
  return next(prose, "unreadable array data" if "driver" in line else type(error).__name__)


def leave_out_abandoned() -> None:
  """Keeps Python from telling of the reads and writes that orbax abandons once one of them has failed.

  It closes their event loop and does not wait for them: each tells of its end with a dump of its array,
  and so do tensorstore's threads that find the loop closed. What failed first is named, in one line.
  """
  before = sys.unraisablehook
  if getattr(before, "leaves_out_abandoned", False):
    return

  def hook(unraisable: Any) -> None:
    code = getattr(unraisable.object, "cr_code", None)  # of a coroutine
    of_orbax = code is not None and Path(ocp.__file__).parent in Path(code.co_filename).parents
    if not of_orbax and str(unraisable.exc_value) != "Event loop is closed":
      before(unraisable)

  hook.leaves_out_abandoned = True  # type: ignore[attr-defined]
  sys.unraisablehook = hook


def good_steps(directory: Any) -> list[int]:
  """Returns the steps whose directories were committed (a half-written one has another name)."""
  names = [path.name for path in Path(str(directory)).glob("*")]
  return sorted(int(name) for name in names if name.isascii() and name.isdigit())  # "²" is a digit, too


def saved_facts(directory: Path) -> dict[str, Any] | None:
  """Returns what the newest checkpoint records of its run; None where there is none that can be read."""
  for step in reversed(good_steps(directory)):
    with contextlib.suppress(Exception):  # whatever a damaged file makes orbax raise; `restore` names it
      return ocp.JsonCheckpointHandler().restore(Path(directory).resolve() / str(step) / "progress")
  return None


def restore(
  directory: Path,
  abstract: Callable[[int], Any],
  *,
  warn: Callable[[str], None],
  check: Callable[[Mapping[str, Any]], None] = lambda facts: None,
) -> tuple[Any, Progress] | None:
  """Reads the newest good checkpoint as `(state, progress)`; None where there is none at all.

  Damaged ones are named through `warn` and stay where they are (see `set_aside`). In a run of several
  processes all must call it, and all take the same checkpoint.

  Args:
    directory: `workdir/checkpoints`.
    abstract: stage number -> shapes, dtypes and shardings of the state in that stage.
    warn: called with one line per damaged checkpoint.
    check: called with what the checkpoint records of its run; raises a RunError for another one.

  Raises:
    RunError: there are checkpoints and none is good.
  """
  steps = good_steps(directory)
  for step in reversed(steps):
    folder, cause = Path(directory).resolve() / str(step), ""
    found: dict[str, jax.Array] | None = None
    try:
      facts = ocp.JsonCheckpointHandler().restore(folder / "progress")
      if facts.pop("checksum", None) != _checksum(facts):
        raise ValueError("its progress.json does not match its checksum")
      check(facts)
      kept = {name: facts[name] for name in ("stage", "at", "step", "seconds")}
      progress = Progress(**kept, bad=tuple(facts.get("bad", ())))
      target = abstract(progress.stage)
      found = _restore_leaves(folder, target, facts["digests"])
    except RunError:
      raise
    except Exception as error:  # whatever a damaged file makes orbax raise
      leave_out_abandoned()
      cause = _cause(error)
    if all_agree(found is not None) and found is not None:  # else another process could not read its part
      actual = digests(found)
      wrong = [name for name in actual if actual[name] != facts["digests"][name]]
      if not wrong:
        return _with_empty_leaves(found, target), progress
      cause = f"the bytes of '{wrong[0]}' do not match their digest"
    cause = cause or "another process cannot read its part"
    then = "" if step == steps[0] else ": trying the one before"
    warn(f"checkpoint {step} in {directory} is damaged ({cause}){then}")
  if steps:
    raise RunError(
      f"none of the {len(steps)} checkpoint(s) in {directory} can be read: start over in another --workdir"
    )
  return None


def _restore_leaves(folder: Path, target: Any, expected: dict[str, str]) -> dict[str, jax.Array]:
  flat = flatten(target)
  if flat.keys() != expected.keys():
    other = sorted(flat.keys() ^ expected.keys())[:3]
    raise RunError(
      f"checkpoint {folder.name} in {folder.parent} was written by another version of the code: its leaves"
      f" differ in {other}; finish it with that version, or start over in another --workdir"
    )
  # The item's handler: the manager would wait for the other processes, and one of them may have failed.
  return ocp.StandardCheckpointHandler().restore(folder / "state", args=ocp.args.StandardRestore(flat))


def _with_empty_leaves(loaded: dict[str, jax.Array], target: Any) -> Any:
  def one(path, leaf):
    name = path_name(path)
    return loaded[name] if name in loaded else jnp.zeros(leaf.shape, leaf.dtype, device=leaf.sharding)

  return jax.tree_util.tree_map_with_path(one, target)


def set_aside(manager: ocp.CheckpointManager, *, after: int) -> None:
  """Moves the checkpoints later than step `after`, which `restore` found damaged, to `workdir/damaged/`."""
  folder = Path(str(manager.directory)).parent / "damaged"
  damaged = [step for step in good_steps(manager.directory) if step > after]

  def move() -> None:
    for step in damaged:
      folder.mkdir(exist_ok=True)
      shutil.rmtree(folder / str(step), ignore_errors=True)
      shutil.move(Path(str(manager.directory)) / str(step), folder / str(step))

  on_main(move)
  if damaged:
    manager.reload()
