"""Two processes that do not run the same: are all kinds of difference refused by both, by name?

python tests/faults/disagreements.py
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from multiprocess.processes import end, worker  # noqa: E402
from multiprocess.test_faults import UNLIKE  # noqa: E402

from faults.trials import run_trials  # noqa: E402


def main() -> int:
  with tempfile.TemporaryDirectory() as name:

    def trial(number: int) -> tuple[list[str], str]:
      kind, (flags, words) = list(UNLIKE.items())[number]
      folder = Path(name) / str(number)
      codes, errors = end(worker("digits_resident", folder / "run", each={1: flags}, mesh__data=4))
      named = all("the processes do not run the same" in text and words in text for text in errors)
      fine = codes == [1, 1] and named and not (folder / "run").exists()
      return [kind], "refused by both in one line" if fine else f"NOT REFUSED: {codes} {errors}"

    return run_trials(len(UNLIKE), trial, None, bad=("NOT REFUSED",))


if __name__ == "__main__":
  sys.exit(main())
