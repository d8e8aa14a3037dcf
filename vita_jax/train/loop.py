"""The one loop: runs any `Experiment` to its end, resumably. It knows nothing of papers."""

from __future__ import annotations

import contextlib
import fcntl
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import ml_collections
import numpy as np

from vita_jax import metrics
from vita_jax.base.files import write_json
from vita_jax.data.resident import check
from vita_jax.train import checkpoint, cluster, writers
from vita_jax.train.batches import stage_data
from vita_jax.train.checkpoint import Progress
from vita_jax.train.config import as_dict, check_config, config_difference, config_hash, versions
from vita_jax.train.errors import Interrupted, RunError
from vita_jax.train.experiment import Experiment, Stage, State
from vita_jax.train.finish import read_config, read_summary, write_results
from vita_jax.train.mesh import check_layout, make_mesh
from vita_jax.train.pace import Pace, agree, streamed_batches
from vita_jax.train.programs import Programs, make_programs
from vita_jax.train.weights import start_from


class Run(NamedTuple):
  """What the stages of one run share."""

  experiment: Experiment
  programs: Programs
  mesh: jax.sharding.Mesh
  config: dict[str, Any]
  workdir: Path
  seeds: jax.Array  # uint32: one seed, or [replicas]
  logs: writers.Logs
  display: writers.Display
  save: Callable[[Progress, State], None]
  finish_saving: Callable[[], None]
  asked_to_stop: Callable[[], int]  # 0, or the exit code that this process is asked to leave with


def run(
  experiment: Experiment, config: ml_collections.ConfigDict, workdir: str | Path, *, quiet: bool = False
) -> dict[str, Any]:
  """Trains `experiment` in `workdir` to its end, or goes on from where an earlier call was stopped.

  In a run of several processes (see `cluster.join`) all call it alike, on a workdir that all can read;
  the main process writes everything but its share of the checkpoints.

  Args:
    experiment: from a paper's `build(config)`, perhaps through `replicate`.
    config: the resolved configuration (see `train.config.base_config`).
    workdir: folder of this run: config.json, metrics.jsonl, tensorboard/, checkpoints/, figures/,
      export/ and, when complete, summary.json.
    quiet: print nothing.

  Returns:
    The content of summary.json.

  Raises:
    ValueError: a config or a layout of devices that cannot be.
    RunError: another config's run is there, a non-finite loss, a disk that cannot be written, ...
    Interrupted: SIGTERM or Ctrl-C; the state was saved first.
  """
  check_config(config)
  workdir, resolved = Path(workdir), as_dict(config)
  mesh = make_mesh(config.mesh)
  check_layout(mesh, experiment, config.replicate)
  for stage in experiment.stages:
    for data in stage_data(stage).values():
      check(data)
  with contextlib.ExitStack() as stack:
    stack.enter_context(_claim(workdir, resolved))
    if (summary := read_summary(workdir)) and summary["complete"]:
      return summary
    display = writers.open_display(quiet=quiet or not cluster.is_main())
    stack.callback(display.close)
    programs = make_programs(experiment, mesh, on_nonfinite=config.on_nonfinite)
    manager = stack.enter_context(checkpoint.open_manager(workdir, keep=config.keep_checkpoints))
    seeds = config.seed + np.arange(experiment.replicas or 1, dtype=np.uint32)
    seeds = programs.place(seeds if experiment.replicas else seeds[0])
    found = checkpoint.restore(workdir / "checkpoints", programs.abstract, warn=display.line)
    if found:
      state, progress = found
      checkpoint.set_aside(manager, after=progress.step)
      display.line(f"resuming {workdir} at step {progress.step}")
    else:
      state, progress = programs.init(seeds), Progress()
      if config.init_from:
        state = start_from(state, config.init_from, replicas=experiment.replicas)
    logs = writers.open_logs(workdir, step=progress.step) if cluster.is_main() else writers.NO_LOGS
    stack.callback(logs.close)

    def save(progress: Progress, state: State) -> None:
      params = experiment.params(state)
      checkpoint.save(manager, progress, state, params, config=resolved, config_hash=config_hash(resolved))

    with _signals() as asked_to_stop:
      this = Run(
        experiment=experiment,
        programs=programs,
        mesh=mesh,
        config=resolved,
        workdir=workdir,
        seeds=seeds,
        logs=logs,
        display=display,
        save=save,
        finish_saving=lambda: checkpoint.finish(manager),
        asked_to_stop=asked_to_stop,
      )
      for number in range(progress.stage, len(experiment.stages)):
        if progress.stage != number:
          progress = progress._replace(stage=number, at=0)
        if progress.at == 0:  # "enter not applied yet": nothing is ever saved there
          state = programs.enter(experiment.stages[number], state)
        with contextlib.ExitStack() as inner:
          state, progress = _run_stage(this, experiment.stages[number], state, progress, inner)
      checkpoint.finish(manager)
    # From here on all is saved: a signal ends the report at once.
    return write_results(experiment, programs, state, progress, resolved, workdir)


class _Chunk(NamedTuple):
  """A call that was dispatched and not read yet: the host stays one chunk behind the device."""

  until: int
  at: jax.Array
  sums: Any
  bad: jax.Array
  log: bool


def _run_stage(
  run: Run, stage: Stage, state: State, progress: Progress, stack: contextlib.ExitStack
) -> tuple[State, Progress]:
  """Runs one stage from `progress.at` to its end; `state` is as `enter` or a checkpoint left it."""
  evals = {n: e for n, e in run.experiment.evals.items() if not e.stages or stage.name in e.stages}
  marks = [run.config["log_every"], *(e.every for e in evals.values())]
  pace = Pace(run.config["steps_per_call"])
  run_chunk, run_single = run.programs.chunk(stage, state), run.programs.single(stage, state)
  stream = streamed_batches(stage, run.seeds, progress.at, run.mesh, stack)
  at, bad = run.programs.place(np.int32(progress.at)), run.programs.place(np.bool_(False))
  first, base, started = progress.at, progress.step - progress.at, time.monotonic()
  seconds, last_save = progress.seconds, time.monotonic()
  planned = landed = first
  # Collectives of two programs at once can starve each other of the threads that a CPU process has.
  lag = 0 if jax.process_count() > 1 and jax.default_backend() == "cpu" else 1
  over, waiting, totals, length = first >= stage.steps, [], None, pace.length

  def write(split: str, values: dict[str, Any]) -> None:
    row = {"stage": stage.name, "at": landed, "step": base + landed, "split": split, "metrics": values}
    run.logs.write(row)

  def flush_totals() -> None:
    nonlocal totals
    if totals is not None:
      values = metrics.divide(totals)
      write("train", values)
      run.display.update(stage.name, landed, stage.steps, values)
      totals = None

  def absorb(chunk: _Chunk) -> None:
    """Reads a chunk's results: where it ended, its metrics, whether something was not finite."""
    nonlocal landed, over, totals
    reached, sums, is_bad = jax.device_get((chunk.at, chunk.sums, chunk.bad))
    sums = jax.tree.map(lambda x: np.asarray(x, np.float64), sums)
    if int(reached) > landed:
      totals = sums if totals is None else metrics.add(totals, sums)
    landed, over = int(reached), over or int(reached) < chunk.until or int(reached) >= stage.steps
    if is_bad:
      _stop_on_nonfinite(run, stage, base + landed - 1, sums)
    if chunk.log or over:
      flush_totals()

  while not over:
    before = landed
    following = min([stage.steps, *(planned - planned % mark + mark for mark in marks if mark > 0)])
    until = min(following, planned + length)
    log = run.config["log_every"] > 0 and until % run.config["log_every"] == 0
    with jax.transfer_guard("disallow"):
      if pace.single or stream:
        for number in range(planned + 1, until + 1):
          batch = next(stream) if stream else {}
          state, at, sums, bad = run_single(state, run.seeds, at, bad, batch)
          waiting.append(_Chunk(number, at, sums, bad, log and number == until))
          if len(waiting) > lag:
            absorb(waiting.pop(0))
          if over:
            break
      else:
        limit = run.programs.place(np.int32(until))
        state, at, sums, bad = run_chunk(state, run.seeds, at, limit, bad)
        waiting.append(_Chunk(until, at, sums, bad, log))
    planned = until
    due = [name for name, e in evals.items() if e.every > 0 and until % e.every == 0]
    while len(waiting) > lag:
      absorb(waiting.pop(0))
    length, saving, leave = agree(
      pace.length, time.monotonic() - last_save > run.config["save_seconds"], run.asked_to_stop()
    )
    while waiting and (over or due or saving or leave or until >= stage.steps):
      absorb(waiting.pop(0))
    pace.done(landed - before)
    for name in evals if over else due:
      write(name, run.programs.evaluate(name, state))
    now = Progress(progress.stage, landed, base + landed, seconds + time.monotonic() - started)
    if (over or saving or leave) and now.at > 0:
      flush_totals()
      run.save(now, state)
      last_save = time.monotonic()
    if due or over or saving:
      pace.reset()
    progress = now
    if leave:
      run.finish_saving()
      raise Interrupted(
        f"stopped at step {now.step}, saved in {run.workdir}: the same command resumes it", leave
      )
  return state, progress


def _stop_on_nonfinite(run: Run, stage: Stage, step: int, sums: Any) -> None:
  wrong = [name for name, (total, _) in sums.items() if not np.isfinite(total).all()]
  run.finish_saving()
  good = checkpoint.good_steps(run.workdir / "checkpoints")
  raise RunError(
    f"{' and '.join(wrong)} not finite at step {step} (stage {stage.name}); last good checkpoint:"
    f" {f'step {good[-1]}' if good else 'none'}. Lower the learning rate, or set"
    " --config.on_nonfinite=skip to leave such steps out (in a new --workdir)"
  )


@contextlib.contextmanager
def _claim(workdir: Path, config: dict[str, Any]) -> Iterator[None]:
  """Holds the workdir for this process and this config; writes config.json the first time."""
  with contextlib.ExitStack() as stack:
    cluster.on_main(lambda: _hold(workdir, config, stack))
    yield


def _hold(workdir: Path, config: dict[str, Any], stack: contextlib.ExitStack) -> None:
  try:
    workdir.mkdir(parents=True, exist_ok=True)
    lock = stack.enter_context((workdir / ".lock").open("w"))
  except OSError as error:
    raise RunError(
      f"cannot write to --workdir={workdir} ({error.strerror}): give a folder that you can write to"
    ) from error
  try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except OSError as error:
    raise RunError(f"another process is running in {workdir}: wait for it, or use another") from error
  written, saved = workdir / "config.json", workdir / "checkpoints"
  # A config.json that was lost does not make the checkpoints those of any config.
  found = read_config(workdir).to_dict() if written.exists() else checkpoint.saved_config(saved)
  started = checkpoint.good_steps(saved) or (workdir / "summary.json").exists()
  if found is not None and started and config_hash(found) != config_hash(config):
    names = ", ".join(config_difference(found, config)[:4])
    raise RunError(
      f"{workdir} holds the run of another config (they differ in {names}): use another --workdir"
    )
  if not (started and written.exists()):  # nothing was saved yet: a config may still be mended
    facts = {"config": config, "config_hash": config_hash(config), "versions": versions()}
    write_json(written, facts)


@contextlib.contextmanager
def _signals() -> Iterator[Callable[[], int]]:
  """Turns SIGTERM and Ctrl-C into a flag that is read between chunks; a second Ctrl-C is obeyed at once."""
  if threading.current_thread() is not threading.main_thread():
    yield lambda: 0  # only the main thread may install handlers (a notebook's worker, a test)
    return
  codes = {signal.SIGTERM: 143, signal.SIGINT: 130}
  received: list[int] = []
  old = {number: signal.getsignal(number) for number in codes}

  def handler(number, frame):
    received.append(codes[number])
    signal.signal(number, old[number] or signal.SIG_DFL)

  for number in codes:
    signal.signal(number, handler)
  try:
    yield lambda: received[0] if received else 0
  finally:
    for number, previous in old.items():
      signal.signal(number, previous or signal.SIG_DFL)
