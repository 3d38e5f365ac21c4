"""DistributedOptimizer: any torch optimizer, with gradients averaged over all ranks while backward still runs.

::

    optimizer = torch.optim.SGD(model.parameters(), lr=0.01 * hvd.size())
    optimizer = hvd.DistributedOptimizer(optimizer, named_parameters=model.named_parameters())
    ...
        optimizer.zero_grad()
        loss.backward()          # afterwards p.grad is the average, on every rank the same bits
        optimizer.step()

Rules
 - All ranks make their DistributedOptimizers in the same order over parameters of the same names, shapes and types, and take the same
   number of backwards a step.
 - While backward runs, p.grad is None; when it has returned, it is reduced. So clipping, logging and GradScaler need nothing special:
   synchronize() and skip_synchronize() are there for scripts that have them, and do no harm.
 - A parameter that got no gradient on this rank takes part with zeros; one that got none on any rank is left alone.
 - A further backward before step() accumulates: each is reduced alone and added. With backward_passes_per_step=k each k-th is reduced, with
   what the others have added; step() reduces what is left over.
 - If the backward of a rank throws, all drop the step: the other ranks' backward() raises StepDiscarded, and step() does nothing.
 - Whoever keeps p.grad itself keeps its values. Of what shares its memory (p.grad.detach(), .data, a view, .numpy()) make a clone: the next
   backward writes there.
 - With op=Adasum gradients stay this rank's own, ranks meet in step(): there clip each rank's, and leave GradScaler out, which would skip the
   step on some ranks only.
 - Gradients are values: after backward(create_graph=True) they have no graph.
 - On one rank nothing is communicated.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from .._core import ReduceOp
from .._process import world
from ..ops import Adasum, Average, Sum, chosen_op
from ..process_sets import ProcessSet, global_process_set, id_of
from ._adasum import AdasumOptimizer, take_over
from ._checks import check_compression, check_optimizer
from ._exchange import GradientExchange
from ._owners import check_are_free
from ._parameters import Named, groups_of, name_parameters
from ._tensors import TorchTensors
from .compression import Compression


class _DistributedOptimizer(torch.optim.Optimizer):
    """What is put in front of the wrapped optimizer's class."""

    _hvd_exchange: GradientExchange | None = None
    _hvd_is_skipping = False

    def synchronize(self) -> None:
        """Waits for gradients that are still on their way, and reduces what was only accumulated. After backward() there is nothing to do."""
        if self._hvd_exchange is not None:
            self._hvd_exchange.complete()

    @contextmanager
    def skip_synchronize(self) -> Iterator[None]:
        """step() within does not call synchronize(): for scripts that have called it themselves."""
        self._hvd_is_skipping = True
        try:
            yield
        finally:
            self._hvd_is_skipping = False

    @contextmanager
    def no_sync(self) -> Iterator[None]:
        """Backwards within only add to p.grad, and are reduced with the next one, or by step()."""
        if self._hvd_exchange is not None:
            self._hvd_exchange.no_sync_depth += 1
        try:
            yield
        finally:
            if self._hvd_exchange is not None:
                self._hvd_exchange.no_sync_depth -= 1

    def set_backward_passes_per_step(self, passes: int) -> None:
        """From the next step on."""
        _check_passes(passes)
        if self._hvd_exchange is not None:
            self._hvd_exchange.passes_per_step = passes

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """The wrapped optimizer's step, on gradients that are the same on all ranks; nothing, if the step was dropped.

        With a closure each call of it runs one backward that is reduced, and the loss it returns is averaged, so that ranks decide alike.
        """
        exchange = self._hvd_exchange
        if exchange is None:
            return super().step(closure)
        if closure is None:
            if not self._hvd_is_skipping:
                exchange.complete()
        else:
            closure = _averaged(closure, exchange)
        try:
            return None if exchange.is_discarded else super().step(closure)
        finally:
            exchange.end_step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """The wrapped optimizer's; what was accumulated and not reduced yet is gone, too, and so is a dropped step."""
        super().zero_grad(set_to_none)
        if self._hvd_exchange is not None:
            self._hvd_exchange.forget()

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Its gradients are reduced too. On all ranks alike, between a step and the next backward."""
        super().add_param_group(param_group)
        if self._hvd_exchange is not None:
            place = len(self.param_groups) - 1
            parameters = enumerate(self.param_groups[place]["params"])
            named = [(f"group {place}, parameter {number}", parameter) for number, parameter in parameters if parameter.requires_grad]
            try:
                _check_parameters(named)
            except ValueError:
                del self.param_groups[place]
                raise
            for pair in named:
                self._hvd_exchange.add_group([pair])


def _averaged(closure: Callable[[], Any], exchange: GradientExchange) -> Callable[[], Any]:
    def evaluate() -> Any:
        loss = closure()
        exchange.complete()
        exchange.end_step()
        return exchange.average(loss)

    return evaluate


def _check_passes(passes: int) -> None:
    if not isinstance(passes, int) or passes < 1:
        raise ValueError(f"backward_passes_per_step={passes!r}: expected a whole number of at least 1")


def _check(op: ReduceOp, gradient_predivide_factor: float) -> None:
    if op not in (Average, Sum, Adasum):
        raise ValueError(f"DistributedOptimizer(op={op.name}): expected Average, Sum or Adasum")
    if not 0 < gradient_predivide_factor < math.inf:
        raise ValueError(f"gradient_predivide_factor={gradient_predivide_factor}: expected a number above 0")
    if gradient_predivide_factor != 1.0 and op != Average:
        raise ValueError(f"gradient_predivide_factor={gradient_predivide_factor} is for op=Average only: leave it out, or pass op=Average")


def _check_parameters(named: Named) -> None:
    check_are_free(named)
    for name, parameter in named:
        try:
            TorchTensors().facts(parameter)
        except ValueError as error:
            raise ValueError(f"DistributedOptimizer: parameter '{name}': {error}") from None


def DistributedOptimizer(  # Horovod spells it so
    optimizer: torch.optim.Optimizer,
    named_parameters: Iterable[tuple[str, torch.Tensor]] | None = None,
    compression: Any = Compression.none,
    backward_passes_per_step: int = 1,
    op: ReduceOp = Average,
    gradient_predivide_factor: float = 1.0,
    num_groups: int = 0,
    groups: int | Sequence[Sequence[torch.Tensor]] | None = None,
    sparse_as_dense: bool = False,
    process_set: ProcessSet = global_process_set,
) -> Any:
    """The optimizer, of a class derived from its own: schedulers, checkpoints and isinstance() work as before.

    optimizer: it and the result share parameter groups and state; use the result only.
    named_parameters: of all parameters of the optimizer; gradients are known by these names in messages and timelines.
    compression: what gradients are cast to on a wire; nothing happens where ranks share memory. Your own Compressor always works.
    backward_passes_per_step: how many backwards are accumulated before gradients are reduced.
    op: Average or Sum over ranks, or Adasum: each rank takes a step on its own gradients, and step() puts the ranks' changes of the weights
    together, so that steps in different directions add up and equal ones are averaged; without scaling the learning rate.
    gradient_predivide_factor f (Average only): gradients are multiplied by 1/f before the sum over n ranks, and
    by f/n after it: for 16-bit types, whose sums could overflow.
    groups: lists of parameters whose gradients are reduced together; num_groups (or a number as groups): that many lists of equal length.
    sparse_as_dense: sparse gradients are made dense before they are reduced; otherwise ranks gather each other's rows.
    process_set: who trains together; its members make the optimizer.
    Raises ValueError: names twice, parameters without a name, options that make no sense.
    """
    check_optimizer("DistributedOptimizer", optimizer)
    if isinstance(optimizer, (_DistributedOptimizer, AdasumOptimizer)):
        raise ValueError("DistributedOptimizer: this optimizer is one already: use it as it is")
    op = chosen_op(op, None)
    _check(op, gradient_predivide_factor)
    check_compression(compression)
    id_of(process_set)
    if not process_set.included():
        raise ValueError(f"DistributedOptimizer: rank {world().rank} is no member of {process_set!r}: make it on members only")
    _check_passes(backward_passes_per_step)
    named = name_parameters(optimizer, named_parameters)
    if isinstance(groups, int):
        num_groups, groups = groups, None
    grouped = groups_of(named, num_groups, groups)
    kind = type(optimizer)
    communicates = process_set.size() > 1
    if communicates:
        _check_parameters(named)
    is_adasum = op == Adasum and communicates
    front = AdasumOptimizer if is_adasum else _DistributedOptimizer
    wrapped: Any = object.__new__(type(kind.__name__, (front, kind), {}))
    wrapped.__dict__.update({name: value for name, value in optimizer.__dict__.items() if name != "step"})
    if is_adasum:
        take_over(wrapped, named, compression, process_set)
    elif communicates:
        exchange = GradientExchange(
            world().optimizer_number(process_set.process_set_id or 0), op, 1 / gradient_predivide_factor, gradient_predivide_factor, compression, backward_passes_per_step, sparse_as_dense,
            process_set,
        )  # fmt: skip
        for members in grouped:
            exchange.add_group(members)
        wrapped._hvd_exchange = exchange
        weakref.finalize(wrapped, exchange.detach).atexit = False
    return wrapped
