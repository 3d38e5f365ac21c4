"""The operations, and what is asked of a job. There need be no MPI."""

from horovod_cpp.torch import *  # noqa: F403
from horovod_cpp.torch import __all__ as __all__
