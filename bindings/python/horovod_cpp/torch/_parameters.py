"""Which parameters an optimizer has, under which names, and which go together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch

from ._checks import pairs_of

Named = list[tuple[str, torch.Tensor]]


def name_parameters(optimizer: torch.optim.Optimizer, named_parameters: Iterable[tuple[str, torch.Tensor]] | None) -> Named:
    """The optimizer's parameters that require a gradient, in the order of its groups. Raises ValueError as DistributedOptimizer says."""
    own = [(f"group {i}, parameter {j}", p) for i, group in enumerate(optimizer.param_groups) for j, p in enumerate(group["params"])]
    if named_parameters is not None:
        remedy = "pass model.named_parameters()"
        given = pairs_of("named_parameters: expected pairs of a name and a parameter", named_parameters, remedy)
        if any(not isinstance(parameter, torch.Tensor) for _, parameter in given):
            raise ValueError(f"named_parameters: expected pairs of a name and a parameter: {remedy}")
        names = [name for name, _ in given]
        twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
        if twice:
            raise ValueError(f"named_parameters: names must be different, these come twice: {', '.join(twice)}: give each model a prefix")
        by_parameter: dict[torch.Tensor, str] = {}
        for name, parameter in given:
            by_parameter.setdefault(parameter, name)
        unnamed = [label for label, parameter in own if parameter not in by_parameter]
        if unnamed:
            raise ValueError(
                f"named_parameters: {len(unnamed)} of the optimizer's {len(own)} parameters are not in it ({', '.join(unnamed[:5])}): pass "
                "model.named_parameters() of all models that the optimizer updates"
            )
        own = [(by_parameter[parameter], parameter) for _, parameter in own]
    return [(name, parameter) for name, parameter in own if parameter.requires_grad]


def groups_of(named: Named, num_groups: int, groups: Sequence[Sequence[torch.Tensor]] | None) -> list[Named]:
    """What is reduced together; parameters in no group go alone."""
    if groups is None:
        if num_groups < 0:
            raise ValueError(f"num_groups={num_groups}: expected 0, for each parameter alone, or more")
        if num_groups == 0:
            return [[pair] for pair in named]
        # Backward completes the last parameters first.
        backwards = named[::-1]
        bounds = [len(backwards) * number // num_groups for number in range(num_groups + 1)]
        return [backwards[a:b] for a, b in zip(bounds, bounds[1:]) if a < b]
    if num_groups:
        raise ValueError("pass groups or num_groups, not both")
    names = {parameter: name for name, parameter in named}
    seen: set[torch.Tensor] = set()
    out: list[Named] = []
    for group in groups:
        for parameter in group:
            if parameter in seen:
                raise ValueError(f"groups: parameter '{names.get(parameter)}' is in two of them")
            if not isinstance(parameter, torch.Tensor) or parameter not in names:
                raise ValueError("groups: lists of the optimizer's parameters that require a gradient are expected; one has something else")
            seen.add(parameter)
        if group:
            out.append([(names[parameter], parameter) for parameter in group])
    return out + [[(name, parameter)] for name, parameter in named if parameter not in seen]
