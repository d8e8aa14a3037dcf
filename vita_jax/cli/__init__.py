"""What the launch scripts share: flags, the start of JAX, runs and rows, and errors as one line.

A script defines its flags and hands its `main` to `run`:

    WORKDIR = cli.define_workdir()

    def main() -> None:
      experiment, config, state, programs = cli.finished_run(WORKDIR.value)

    if __name__ == "__main__":
      cli.run(main)
"""

from vita_jax import _early  # noqa: F401  first: what follows takes seconds
from vita_jax._lazy import submodules
from vita_jax.cli.errors import FIXABLE, guarded, out_of_memory
from vita_jax.cli.files import (
  HERE,
  faults_of,
  find_config,
  find_suite,
  load_config,
  load_python,
)
from vita_jax.cli.rows import row_config, run_row, settings_hash
from vita_jax.cli.runs import (
  build,
  explain,
  exported,
  finished,
  finished_run,
  print_metrics,
  print_summary,
  trained,
)
from vita_jax.cli.start import (
  CPU_DEVICES,
  define_cluster,
  define_config,
  define_watchdog,
  define_workdir,
  run,
  spell_out,
)

__all__ = [
  "CPU_DEVICES",
  "FIXABLE",
  "HERE",
  "build",
  "define_cluster",
  "define_config",
  "define_watchdog",
  "define_workdir",
  "explain",
  "exported",
  "faults_of",
  "find_config",
  "find_suite",
  "finished",
  "finished_run",
  "guarded",
  "load_config",
  "load_python",
  "out_of_memory",
  "print_metrics",
  "print_summary",
  "row_config",
  "run",
  "run_row",
  "settings_hash",
  "spell_out",
  "trained",
]

__getattr__, __dir__ = submodules(__name__)
