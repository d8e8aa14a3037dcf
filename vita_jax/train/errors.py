"""Errors of a run that a user can act on: one line that names the cause and the remedy."""


class RunError(Exception):
  """A run cannot go on; nothing that was saved is lost."""


class Interrupted(RunError):
  """A run was asked to stop (SIGTERM, SIGHUP, Ctrl-C) and has saved; `exit_code` is 143, 129 or 130."""

  def __init__(self, message: str, exit_code: int):
    super().__init__(message)
    self.exit_code = exit_code
