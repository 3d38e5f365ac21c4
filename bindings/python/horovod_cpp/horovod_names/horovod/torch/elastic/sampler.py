"""Data of an elastic job."""

from . import ElasticSampler

__all__ = ["ElasticSampler"]
