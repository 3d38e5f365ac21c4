"""What an elastic job keeps."""

from . import TorchState

__all__ = ["TorchState"]
