"""The one loop: runs any `Experiment` to its end, resumably. It knows nothing of papers."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import ml_collections
import numpy as np

from vita_jax.train import checkpoint, cluster, nonfinite, writers
from vita_jax.train.batches import check_data
from vita_jax.train.calls import Calls
from vita_jax.train.checkpoint import Progress
from vita_jax.train.config import as_dict, check_config
from vita_jax.train.display import Display, open_display
from vita_jax.train.errors import Interrupted, RunError
from vita_jax.train.experiment import Experiment, Stage, State, keep
from vita_jax.train.finish import read_summary, write_results
from vita_jax.train.identity import check_processes, identity_of
from vita_jax.train.lagged import LaggedReader, MetricRow, NotFinite
from vita_jax.train.mesh import check_layout, make_mesh
from vita_jax.train.pace import Pace, agree, due_at, next_mark
from vita_jax.train.programs import Programs
from vita_jax.train.resume import start_or_resume
from vita_jax.train.signals import signals
from vita_jax.train.workdir import claim


class Run(NamedTuple):
  """What the stages of one run share."""

  experiment: Experiment
  programs: Programs
  config: dict[str, Any]
  workdir: Path
  seeds: jax.Array  # uint32: one seed, or [replicas]
  logs: writers.Logs
  display: Display
  save: Callable[[Progress, State], None]
  finish_saving: Callable[[], None]
  asked_to_stop: Callable[[], int]  # 0, or the exit code that this process is asked to leave with
  check_workdir: Callable[[], None]


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
    ValueError: an invalid config, or a layout of devices that does not fit it.
    RunError: another process uses the workdir, steps that are not finite, a disk that cannot be written, ...
    Interrupted: SIGTERM, SIGHUP or Ctrl-C; the state was saved first.
  """
  check_config(config)
  workdir, resolved = Path(workdir), as_dict(config)
  mesh = programs.mesh if programs else make_mesh(config.mesh)
  check_layout(mesh, experiment, config.replicate)
  check_data(experiment)
  identity = identity_of(experiment, resolved)
  check_processes(identity, workdir)  # first: unlike processes would wait for each other below
  with contextlib.ExitStack() as stack:
    display = open_display(quiet=quiet or not cluster.is_main())
    stack.callback(display.close)
    # Before anything is read: nobody else may write there.
    held = stack.enter_context(claim(workdir, identity, warn=display.line))
    if (summary := read_summary(workdir)) and summary["complete"]:
      return summary
    programs = programs or Programs(experiment, mesh, on_nonfinite=config.on_nonfinite)
    manager = stack.enter_context(checkpoint.open_manager(workdir, keep=config.keep_checkpoints))
    seeds = config.seed + np.arange(experiment.replicas or 1, dtype=np.uint32)
    seeds = programs.place(seeds if experiment.replicas else seeds[0])
    state, progress = start_or_resume(
      experiment, programs, manager, seeds, resolved, identity, workdir, display
    )
    # After the restore: rows beyond its step are dropped, since those steps are taken again.
    main = cluster.is_main()
    logs = writers.open_logs(workdir, step=progress.step, warn=display.line) if main else writers.NO_LOGS
    stack.callback(logs.close)

    def save(progress: Progress, state: State) -> None:
      held.check()  # a renamed workdir would get half a checkpoint under its old name
      if wrong := programs.not_finite(state):
        raise RunError(f"the weights are not finite ('{next(iter(wrong))}'): they were not saved")
      checkpoint.save(manager, progress, state, experiment.params(state), run=identity.facts())

    def finish_saving() -> None:
      with cluster.busy("save"):
        checkpoint.finish(manager)

    with signals() as asked_to_stop, cluster.busy(""):  # from here on the watchdog expects steps
      this = Run(
        experiment=experiment,
        programs=programs,
        config=resolved,
        workdir=workdir,
        seeds=seeds,
        logs=logs,
        display=display,
        save=save,
        finish_saving=finish_saving,
        asked_to_stop=asked_to_stop,
        check_workdir=held.check,
      )
      state, progress = _run_stages(this, state, progress)
      finish_saving()
    held.check()
    # From here on all is saved: a signal ends the report at once.
    display.busy("writing the report")
    with cluster.busy("report"):
      return write_results(experiment, programs, state, progress, resolved, workdir, warn=display.line)


def _run_stages(run: Run, state: State, progress: Progress) -> tuple[State, Progress]:
  stages = run.experiment.stages
  for number in range(progress.stage, len(stages)):
    if progress.stage != number:
      progress = progress._replace(stage=number, at=0)
    stage = stages[number]
    if progress.at == 0 and stage.enter is not keep:  # not applied yet: nothing is ever saved there
      run.display.busy(f"entering {stage.name}")
      with cluster.busy("enter"):
        state = jax.block_until_ready(run.programs.enter(stage, state))
    run.display.begin(stage.name, progress.at, stage.steps)
    with contextlib.ExitStack() as stack:
      state, progress = _run_stage(run, stage, state, progress, stack)
  return state, progress


def _run_stage(
  run: Run, stage: Stage, state: State, progress: Progress, stack: contextlib.ExitStack
) -> tuple[State, Progress]:
  """Runs one stage from `progress.at` to its end; `state` is as `enter` or a checkpoint left it."""
  evals = {n: e for n, e in run.experiment.evals.items() if not e.stages or stage.name in e.stages}
  marks = [run.config["log_every"], *(e.every for e in evals.values())]
  pace = Pace(run.config["steps_per_call"])
  bad = np.array(progress.bad or 0)
  cursor = run.programs.cursor(progress.at, bad)
  calls = Calls(run.programs, stage, state, run.seeds, cursor, stack, single=pace.single)
  base, started, last_save = progress.step - progress.at, time.monotonic(), time.monotonic()
  seconds, planned, length = progress.seconds, progress.at, pace.length
  # Collectives of two programs at once can starve each other of the threads that a CPU process has.
  lag = 0 if jax.process_count() > 1 and jax.default_backend() == "cpu" else 1
  reader = LaggedReader(progress.at, stage.steps, lag=lag, failed=run.programs.failed)
  compiling = stack.enter_context(contextlib.ExitStack())
  compiling.enter_context(cluster.busy("compile"))
  write = partial(_write_row, run, stage, base)
  write_training = partial(_write_training, run, stage, base, reader)

  while not reader.over:
    before = reader.landed
    until = min(planned + length, next_mark(planned, marks, stage.steps))
    log = run.config["log_every"] > 0 and until % run.config["log_every"] == 0
    for newest, chunk in calls.take(state, planned, until, log=log):
      state = newest
      reader.add(chunk)
      write_training(state, reader.read())
      if reader.over:
        break
    planned = until
    due = due_at(until, evals)
    # All processes agree here, since each must run the same programs in the same order.
    wants_save = time.monotonic() - last_save > run.config["save_seconds"]
    length, saving, leave = agree(pace.length, wants_save, run.asked_to_stop())
    if reader.over or due or saving or leave or until >= stage.steps:
      write_training(state, reader.read(everything=True))  # what follows looks at `state`, the newest
    if reader.landed > before:
      compiling.close()
      run.display.update(stage.name, reader.landed, stage.steps, {})
    cluster.progress(base + reader.landed)
    run.check_workdir()
    if text := nonfinite.frozen(run.programs, state, reader, bad, seed=run.config["seed"]):
      run.display.line(text)
    bad = bad if reader.cursor is None else np.asarray(reader.cursor.bad)
    pace.done(reader.landed - before)
    at = reader.landed
    with cluster.busy("evaluate"):
      for name in evals if reader.over else due:
        write(name, MetricRow(at, run.programs.evaluate(name, state)))
    counts = tuple(np.atleast_1d(bad).tolist()) if np.any(bad) else ()
    progress = Progress(progress.stage, at, base + at, seconds + time.monotonic() - started, counts)
    if (reader.over or saving or leave) and at > 0:
      write_training(state, reader.rest())  # a row at each save, so that a kill loses no metrics
      with cluster.busy("save"):
        run.save(progress, state)
      last_save = time.monotonic()
    if due or reader.over or saving:
      pace.reset()
    if leave:
      run.finish_saving()
      text = f"stopped at step {progress.step}, saved in {run.workdir}: the same command resumes it"
      raise Interrupted(text, leave)
  return state, progress


def _write_row(run: Run, stage: Stage, base: int, split: str, row: MetricRow) -> None:
  place = {"stage": stage.name, "at": row.at, "step": base + row.at}
  run.logs.write({**place, "split": split, "metrics": row.values})


def _write_training(
  run: Run, stage: Stage, base: int, reader: LaggedReader, state: State, rows: Iterator[MetricRow]
) -> None:
  shown: dict[str, Any] = {}
  try:
    for row in rows:
      _write_row(run, stage, base, "train", row)
      shown |= row.values  # an observation and the means after it are one line
      run.display.update(stage.name, reader.landed, stage.steps, shown)
  except NotFinite:
    run.finish_saving()  # first: the last good checkpoint may still be on its way
    where = {"step": base + reader.landed - 1, "seed": run.config["seed"], "workdir": run.workdir}
    raise RunError(nonfinite.stopped(run.programs, stage, state, reader, **where)) from None
