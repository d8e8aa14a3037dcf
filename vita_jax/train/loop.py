"""The one loop: runs any `Experiment` to its end, resumably. It knows nothing of papers."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import jax
import ml_collections
import numpy as np

from vita_jax.data.resident import check
from vita_jax.train import checkpoint, cluster, writers
from vita_jax.train.batches import stage_data
from vita_jax.train.checkpoint import Progress
from vita_jax.train.config import as_dict, check_config, config_hash
from vita_jax.train.errors import Interrupted, RunError
from vita_jax.train.experiment import Eval, Experiment, Stage, State
from vita_jax.train.finish import read_summary, write_results
from vita_jax.train.lagged import Chunk, LaggedReader, NotFinite
from vita_jax.train.mesh import check_layout, make_mesh
from vita_jax.train.pace import Pace, agree, streamed_batches
from vita_jax.train.programs import Cursor, Programs
from vita_jax.train.signals import signals
from vita_jax.train.weights import start_from
from vita_jax.train.workdir import claim


class Run(NamedTuple):
  """What the stages of one run share."""

  experiment: Experiment
  programs: Programs
  config: dict[str, Any]
  workdir: Path
  seeds: jax.Array  # uint32: one seed, or [replicas]
  logs: writers.Logs
  display: writers.Display
  save: Callable[[Progress, State], None]
  finish_saving: Callable[[], None]
  asked_to_stop: Callable[[], int]  # 0, or the exit code that this process is asked to leave with


def run(
  experiment: Experiment,
  config: ml_collections.ConfigDict,
  workdir: str | Path,
  *,
  quiet: bool = False,
  programs: Programs | None = None,
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
    programs: of an earlier call with the same stages, mesh and `on_nonfinite`, to compile nothing twice.

  Returns:
    The content of summary.json.

  Raises:
    ValueError: a config or a layout of devices that cannot be.
    RunError: another config's run is there, a non-finite loss, a disk that cannot be written, ...
    Interrupted: SIGTERM or Ctrl-C; the state was saved first.
  """
  check_config(config)
  workdir, resolved = Path(workdir), as_dict(config)
  mesh = programs.mesh if programs else make_mesh(config.mesh)
  check_layout(mesh, experiment, config.replicate)
  for stage in experiment.stages:
    for data in stage_data(stage).values():
      check(data)
  with contextlib.ExitStack() as stack:
    stack.enter_context(claim(workdir, resolved))  # before anything is read: nobody else may write there
    if (summary := read_summary(workdir)) and summary["complete"]:
      return summary
    display = writers.open_display(quiet=quiet or not cluster.is_main())
    stack.callback(display.close)
    programs = programs or Programs(experiment, mesh, on_nonfinite=config.on_nonfinite)
    manager = stack.enter_context(checkpoint.open_manager(workdir, keep=config.keep_checkpoints))
    seeds = config.seed + np.arange(experiment.replicas or 1, dtype=np.uint32)
    seeds = programs.place(seeds if experiment.replicas else seeds[0])
    found = checkpoint.restore(workdir / "checkpoints", programs.abstract, warn=display.line)
    if found:
      state, progress = found
      checkpoint.set_aside(manager, after=progress.step)  # only now: a good one is known to be there
      display.line(f"resuming {workdir} at step {progress.step}")
    else:
      state, progress = programs.init(seeds), Progress()
      if config.init_from:
        state = start_from(state, config.init_from, replicas=experiment.replicas)
    # After the restore: rows beyond its step are dropped, those steps are taken again.
    logs = writers.open_logs(workdir, step=progress.step) if cluster.is_main() else writers.NO_LOGS
    stack.callback(logs.close)

    def save(progress: Progress, state: State) -> None:
      params = experiment.params(state)
      checkpoint.save(manager, progress, state, params, config=resolved, config_hash=config_hash(resolved))

    with signals() as asked_to_stop:
      this = Run(
        experiment=experiment,
        programs=programs,
        config=resolved,
        workdir=workdir,
        seeds=seeds,
        logs=logs,
        display=display,
        save=save,
        finish_saving=lambda: checkpoint.finish(manager),
        asked_to_stop=asked_to_stop,
      )
      state, progress = _run_stages(this, state, progress)
      checkpoint.finish(manager)
    # From here on all is saved: a signal ends the report at once.
    return write_results(experiment, programs, state, progress, resolved, workdir)


def _run_stages(run: Run, state: State, progress: Progress) -> tuple[State, Progress]:
  stages = run.experiment.stages
  for number in range(progress.stage, len(stages)):
    if progress.stage != number:
      progress = progress._replace(stage=number, at=0)
    if progress.at == 0:  # "enter not applied yet": nothing is ever saved there
      state = run.programs.enter(stages[number], state)
    with contextlib.ExitStack() as stack:
      state, progress = _run_stage(run, stages[number], state, progress, stack)
  return state, progress


def _run_stage(
  run: Run, stage: Stage, state: State, progress: Progress, stack: contextlib.ExitStack
) -> tuple[State, Progress]:
  """Runs one stage from `progress.at` to its end; `state` is as `enter` or a checkpoint left it."""
  evals = {n: e for n, e in run.experiment.evals.items() if not e.stages or stage.name in e.stages}
  marks = [run.config["log_every"], *(e.every for e in evals.values())]
  pace = Pace(run.config["steps_per_call"])
  calls = _Calls(run, stage, state, progress.at, pace.single, stack)
  base, started, last_save = progress.step - progress.at, time.monotonic(), time.monotonic()
  seconds, planned, length = progress.seconds, progress.at, pace.length
  # Collectives of two programs at once can starve each other of the threads that a CPU process has.
  lag = 0 if jax.process_count() > 1 and jax.default_backend() == "cpu" else 1
  reader = LaggedReader(progress.at, stage.steps, lag=lag)

  def write(split: str, values: dict[str, Any]) -> None:
    at = reader.landed
    run.logs.write({"stage": stage.name, "at": at, "step": base + at, "split": split, "metrics": values})

  def write_training(rows: Iterator[dict[str, Any]]) -> None:
    try:
      for values in rows:
        write("train", values)
        run.display.update(stage.name, reader.landed, stage.steps, values)
    except NotFinite as error:
      _stop_on_nonfinite(run, stage, base + reader.landed - 1, error.sums)

  while not reader.over:
    before = reader.landed
    until = min(planned + length, _next_mark(planned, marks, stage.steps))
    log = run.config["log_every"] > 0 and until % run.config["log_every"] == 0
    for newest, chunk in calls.take(state, planned, until, log):
      state = newest
      reader.add(chunk)
      write_training(reader.read())
      if reader.over:
        break
    planned = until
    due = _due(evals, until)
    # All processes agree here, since each must run the same programs in the same order.
    wants_save = time.monotonic() - last_save > run.config["save_seconds"]
    length, saving, leave = agree(pace.length, wants_save, run.asked_to_stop())
    if reader.over or due or saving or leave or until >= stage.steps:
      write_training(reader.read(everything=True))  # what follows looks at `state`, the newest
    pace.done(reader.landed - before)
    for name in evals if reader.over else due:
      write(name, run.programs.evaluate(name, state))
    at = reader.landed
    progress = Progress(progress.stage, at, base + at, seconds + time.monotonic() - started)
    if (reader.over or saving or leave) and at > 0:
      write_training(reader.rest())  # a row at each save, so that no metric sum must survive a kill
      run.save(progress, state)
      last_save = time.monotonic()
    if due or reader.over or saving:
      pace.reset()
    if leave:
      run.finish_saving()
      text = f"stopped at step {progress.step}, saved in {run.workdir}: the same command resumes it"
      raise Interrupted(text, leave)
  return state, progress


class _Calls:
  """The compiled calls of one stage: chunks of Resident data, or single steps."""

  def __init__(
    self, run: Run, stage: Stage, state: State, at: int, single: bool, stack: contextlib.ExitStack
  ):
    self._programs, self._seeds = run.programs, run.seeds
    self._chunk, self._single = run.programs.chunk(stage, state), run.programs.single(stage, state)
    self._stream = streamed_batches(stage, run.seeds, at, run.programs.mesh, stack)
    self._one_by_one = single or self._stream is not None
    self._cursor: Cursor = run.programs.cursor(at)

  def take(self, state: State, at: int, until: int, log: bool) -> Iterator[tuple[State, Chunk]]:
    """Dispatches the steps `at` to `until`; yields after each call."""
    if not self._one_by_one:
      limit = self._programs.place(np.int32(until))
      with jax.transfer_guard("disallow"):
        state, self._cursor, sums = self._chunk(state, self._seeds, self._cursor, limit)
      yield state, Chunk(until, self._cursor, sums, log)
      return
    for number in range(at + 1, until + 1):
      batch = next(self._stream) if self._stream else {}
      with jax.transfer_guard("disallow"):
        state, self._cursor, sums = self._single(state, self._seeds, self._cursor, batch)
      yield state, Chunk(number, self._cursor, sums, log and number == until)


def _next_mark(at: int, marks: list[int], steps: int) -> int:
  """The first step after `at` where something is due."""
  return min([steps, *(at - at % mark + mark for mark in marks if mark > 0)])


def _due(evals: dict[str, Eval], at: int) -> list[str]:
  return [name for name, one in evals.items() if one.every > 0 and at % one.every == 0]


def _stop_on_nonfinite(run: Run, stage: Stage, step: int, sums: Any) -> NoReturn:
  wrong = [name for name, (total, _) in sums.items() if not np.isfinite(total).all()]
  run.finish_saving()  # first: the last good checkpoint may still be on its way
  good = checkpoint.good_steps(run.workdir / "checkpoints")
  raise RunError(
    f"{' and '.join(wrong)} not finite at step {step} (stage {stage.name}); last good checkpoint:"
    f" {f'step {good[-1]}' if good else 'none'}. Lower the learning rate, or set"
    " --config.on_nonfinite=skip to leave such steps out (in a new --workdir)"
  )
