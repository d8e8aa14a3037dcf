"""Runs of several real processes on this machine, joined by hand over the loopback."""

import json
import socket
import subprocess
import sys

from launch.commands import ROOT, environment

WATCHDOG = 25  # a busy machine may not let a process speak for seconds


def start(script, workdir, *flags, n=2, each=None, watchdog=WATCHDOG):
  """Starts `n` processes of a script; `each` maps a process to flags of its own. Returns the Popens."""
  port = _free_port()
  made = []
  for i in range(n):
    joined = (f"--coordinator=127.0.0.1:{port}", f"--num_processes={n}", f"--process_id={i}")
    own = (each or {}).get(i, ())
    command = [
      sys.executable,
      script,
      f"--workdir={workdir}",
      f"--watchdog_seconds={watchdog}",
      *joined,
      *flags,
      *own,
    ]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    made.append(subprocess.Popen(command, cwd=ROOT, env=environment(), text=True, **pipes))
  return made


def worker(row, workdir, *, n=2, devices=2, each=None, **overrides):
  """Starts the worker on a row of the laws' table; `mesh__data=4` stands for config.mesh.data."""
  named = {name.replace("__", "."): value for name, value in overrides.items()}
  flags = (f"--row={row}", f"--cpu_devices={devices}", f"--overrides={json.dumps(named)}")
  return start("tests/multiprocess/worker.py", workdir, *flags, n=n, each=each)


def alone(row, workdir, *, devices=1, **overrides):
  """The same in one process, to its end."""
  named = {name.replace("__", "."): value for name, value in overrides.items()}
  flags = (f"--row={row}", f"--cpu_devices={devices}", f"--overrides={json.dumps(named)}")
  command = [sys.executable, "tests/multiprocess/worker.py", f"--workdir={workdir}", *flags]
  return subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=600)


def end(processes, timeout=600):
  """Waits for all; returns their exit codes and what they wrote to stderr."""
  try:
    errors = [process.communicate(timeout=timeout)[1] for process in processes]
  finally:
    for process in processes:
      process.kill()
  return [process.returncode for process in processes], errors


def finished(processes):
  """Asserts that all ended well; returns what the first wrote to stderr."""
  codes, errors = end(processes)
  assert codes == [0] * len(codes), "\n".join(text[-2000:] for text in errors)
  return errors[0]


def has_line(text, start):
  """Whether a line of a stderr starts like this; JAX may have the last word."""
  return any(line.startswith(start) for line in text.splitlines())


def _free_port():
  with socket.socket() as found:
    found.bind(("127.0.0.1", 0))
    return found.getsockname()[1]
