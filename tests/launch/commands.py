"""The launch scripts as commands in processes of their own, on a graph that trains in a second.

Such a process is a fork of one that has imported the packages and started nothing of JAX (multiprocessing's
fork server): what `python launch/SCRIPT.py` is after its imports, which take longer than most commands here.
With an environment of its own, or started and not waited for, a command is `python` itself.
"""

import multiprocessing
import multiprocessing.connection
import os
import runpy
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[2]
CUSTOM = "configs/ss_gcn/custom.py"
LIMITED = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
os.execv(sys.argv[2], sys.argv[2:])
"""


IMPORTED = (
  "matplotlib.backends.backend_agg",
  "tensorboardX.record_writer",
  "vita_jax.cli",
  "vita_jax.papers.ss_gcn",
  "vita_jax.train.loop",
)
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(list(IMPORTED))
PATIENCE = 600.0  # seconds
# An exit code can be read once. Starting a process reads those of the others too (so do `join` and
# `exitcode`), and of two threads that read the same one at a time the second is told 255.
ONE_AT_A_TIME = threading.Lock()


def environment(**changes):
  """The environment of a command; a change to None takes the variable out."""
  path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
  changed = {**os.environ, "PYTHONPATH": path, **changes}
  return {name: value for name, value in changed.items() if value is not None}


def _command(script, flags):
  return [sys.executable, f"launch/{script}.py", *map(str, flags)]


def launch(script, *flags, env=None, largest_file=None):
  """Runs a script to its end and returns the CompletedProcess; no file may pass `largest_file` bytes."""
  if env is None and largest_file is None:
    return _forked(_command(script, flags))
  command = _command(script, flags)
  if largest_file is not None:  # a full disk, for this process alone
    command = [sys.executable, "-c", LIMITED, str(largest_file), *command]
  return subprocess.run(
    command, cwd=ROOT, env=environment(**(env or {})), capture_output=True, text=True, timeout=PATIENCE
  )


def vita(*arguments):
  """Runs the command `vita` to its end and returns the CompletedProcess."""
  return _forked([sys.executable, "-m", *map(str, arguments)])


def _forked(command):
  with tempfile.TemporaryDirectory() as folder:
    out, error = Path(folder) / "out", Path(folder) / "error"
    process = FORKS.Process(target=_work, args=(command[1:], environment(), str(out), str(error)))
    with ONE_AT_A_TIME:
      process.start()
    multiprocessing.connection.wait([process.sentinel], PATIENCE)
    with ONE_AT_A_TIME:
      code = process.exitcode
    if code is None:
      process.kill()
      raise subprocess.TimeoutExpired(command, PATIENCE, stderr=error.read_bytes())
    texts = (path.read_text(errors="replace") for path in (out, error))
    return subprocess.CompletedProcess(command, code, *texts)


def _work(argv, variables, out, error):
  """What a fork does: `python SCRIPT FLAGS` in the root of the repository."""
  for number, path in enumerate((os.devnull, out, error)):
    handle = os.open(path, os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(handle, number)
    os.close(handle)
  os.environ.clear()
  os.environ.update(variables)
  os.chdir(ROOT)
  if argv[0] == "-m":
    sys.argv[:] = ["vita_jax", *argv[1:]]
    runpy.run_module("vita_jax", run_name="__main__", alter_sys=True)
    return
  sys.argv[:] = argv
  # The folder of these tests has the name of that of the scripts.
  sys.path[:] = [str(ROOT / Path(argv[0]).parent), *(path for path in sys.path if not path.endswith("tests"))]
  for name in [name for name in sys.modules if name.partition(".")[0] == "launch"]:
    del sys.modules[name]
  runpy.run_path(argv[0], run_name="__main__")


def start(script, *flags):
  """Starts a script and returns the Popen."""
  pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
  return subprocess.Popen(_command(script, flags), cwd=ROOT, env=environment(), text=True, **pipes)


def training(graph, workdir, task="none", **overrides):
  """The flags of launch/train.py for a user's graph; `epochs=3` stands for --config.epochs=3."""
  named = {"data.path": graph, **{name.replace("__", "."): value for name, value in overrides.items()}}
  settings = [f"--config.{name}={value}" for name, value in named.items()]
  return [f"--config={CUSTOM}:{task}", f"--workdir={workdir}", *settings]


def launch_all(calls):
  """`{name: flags of launch/train.py}` -> {name: CompletedProcess}, as many at a time as there are cores."""
  with ThreadPoolExecutor(os.cpu_count()) as pool:
    return dict(zip(calls, pool.map(lambda flags: launch("train", *flags), calls.values()), strict=True))


def succeeded(done):
  """Asserts exit code 0 and returns stdout."""
  assert done.returncode == 0, done.stderr[-3000:]
  return done.stdout


def refused(done, *words, code=1):
  """Asserts that a command failed with one clear line that holds all `words`; returns the line."""
  assert done.returncode == code, f"{done.returncode}: {done.stderr[-3000:]}"
  assert "Traceback" not in done.stderr, done.stderr[-3000:]
  lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
  assert len(lines) == 1 and len(lines[0]) < 600, done.stderr[-3000:]
  (line,) = lines
  assert all(word in line for word in words), line
  return line


def wait_for(condition, process, *, seconds=600.0):
  """Polls until `condition()` is true of a process that is still running, and returns its value."""
  end = time.monotonic() + seconds
  while time.monotonic() < end:
    if value := condition():
      return value
    assert process.poll() is None, f"the process ended early: {process.stderr.read()[-3000:]}"
    time.sleep(0.01)
  process.kill()
  raise AssertionError(f"nothing happened for {seconds} s")
