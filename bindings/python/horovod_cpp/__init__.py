"""horovod_cpp: data-parallel training and computing. Importing this imports neither torch nor any other framework.

``import horovod_cpp.torch as hvd`` is what scripts for PyTorch begin with, ``import horovod_cpp.numpy as hvd`` those for arrays.
Here: what does not depend on a framework. ``print(horovod_cpp.check_build())`` says what is available.
"""

try:
    from ._core import version as __version__
except ImportError as error:
    raise ImportError(
        f"horovod_cpp: its extension is not built for this Python, or cannot be loaded ({error}): pip install . where the sources are, with "
        "this Python, or put build/python of a build into PYTHONPATH"
    ) from error

from ._common import *  # noqa: F403
from ._common import __all__ as _common

__all__ = ["__version__", *_common]
