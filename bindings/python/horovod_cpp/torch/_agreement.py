"""What all ranks must have alike, told on every rank before anything has changed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import zip_longest

import numpy as np

from .._process import rank
from ..exceptions import MismatchError
from ..numpy.collectives import allgather
from ..numpy.objects import allgather_object
from ..process_sets import ProcessSet


def check_same(caller: str, lines: Sequence[str], remedy: str, process_set: ProcessSet) -> None:
    """Collective. Raises MismatchError on every member if their lines differ."""
    name = f"{caller}: what ranks have"
    digest = np.frombuffer(hashlib.sha256("\n".join(lines).encode()).digest(), np.uint8)
    digests = allgather(digest.reshape(1, -1), name, process_set)
    if (digests == digests[0]).all():
        return
    (first, own), *others = allgather_object((rank(), list(lines)), name, process_set)
    for other, theirs in others:
        for mine, its in zip_longest(own, theirs, fillvalue="nothing"):
            if mine != its:
                raise MismatchError(
                    f"rank {rank()}, {caller}: ranks differ: rank {first} has {mine}, rank {other} {its} (of {len(own)} and {len(theirs)} "
                    f"entries). {remedy}"
                )
