"""The command hvdrun: the launcher inside this package takes the place of this process."""

from __future__ import annotations

import os
import sys

from .running import hvdrun_path


def main() -> None:
    os.execv(hvdrun_path(), ["hvdrun", *sys.argv[1:]])
