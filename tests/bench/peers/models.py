"""The models of the workloads mlp and char_gpt, as contenders/torch_models.cpp has them, and one step of training them; and a backward of given
gradients, for the other workloads."""
import torch
from torch import nn
from torch.nn import functional

from bench_rank import Cannot, Contender, Gradients, Wrong, set_digest

TOKENS, CONTEXT, WIDTH, LAYERS, HEADS, PIECES = 96, 64, 192, 4, 6, 12


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention_norm = nn.LayerNorm(WIDTH)
        self.query_key_value = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.projection = nn.Linear(WIDTH, WIDTH, bias=False)
        self.expansion_norm = nn.LayerNorm(WIDTH)
        self.expansion = nn.Linear(WIDTH, 4 * WIDTH, bias=False)
        self.contraction = nn.Linear(4 * WIDTH, WIDTH, bias=False)

    def attention(self, x):
        batch, time, _ = x.shape
        parts = self.query_key_value(x).view(batch, time, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(parts[0], parts[1], parts[2], is_causal=True)
        return self.projection(seen.transpose(1, 2).reshape(batch, time, WIDTH))

    def forward(self, x):
        x = x + self.attention(self.attention_norm(x))
        return x + self.contraction(functional.gelu(self.expansion(self.expansion_norm(x))))


class CharGpt(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(TOKENS, WIDTH)
        self.position = nn.Embedding(CONTEXT, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.norm = nn.LayerNorm(WIDTH)
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.normal_(module.weight, std=0.02)

    def forward(self, characters):
        x = self.embedding(characters) + self.position.weight[:characters.shape[1]]
        for block in self.blocks:
            x = block(x)
        return functional.linear(self.norm(x), self.embedding.weight)


def make_model(name):
    """The same on every rank."""
    torch.manual_seed(1)
    if name == "mlp":
        return nn.Sequential(nn.Linear(784, 1024), nn.ReLU(), nn.Linear(1024, 1024), nn.ReLU(), nn.Linear(1024, 10))
    if name != "char_gpt":
        raise Cannot("has no such step")
    return CharGpt()


def batch_of(name, rank, repetition):
    """Inputs and targets, different for each rank and repetition."""
    random = torch.Generator().manual_seed(1000 * repetition + rank)
    if name == "mlp":
        return torch.randn(64, 784, generator=random), torch.randint(10, (64,), generator=random)
    pieces = torch.randint(TOKENS, (PIECES, CONTEXT + 1), generator=random)
    return pieces[:, :-1], pieces[:, 1:].flatten()


def loss_of(model, inputs, targets):
    return functional.cross_entropy(model(inputs).flatten(0, -2), targets)


class Step(Contender):
    """zero_grad, forward, backward, step. `wrap` makes the model and optimizer distributed ones."""

    def __init__(self, workload, rank, size, title, wrap):
        self.name, self.rank, self.size, self.title = workload.name, rank, size, title
        self.model = make_model(self.name)
        self.reference = make_model(self.name)
        expected = sum(torch.Size(shape).numel() for shape in workload.shapes.values())
        if sum(parameter.numel() for parameter in self.model.parameters()) != expected:
            raise Wrong(f"the model has not {expected} parameters")
        self.distributed, self.optimizer = wrap(self.model, torch.optim.SGD(self.model.parameters(), lr=0.01))

    def fill(self, repetition):
        self.inputs, self.targets = batch_of(self.name, self.rank, repetition)
        self.reference.load_state_dict(self.model.state_dict())

    def run(self):
        self.optimizer.zero_grad()
        loss_of(self.distributed, self.inputs, self.targets).backward()
        self.optimizer.step()

    def verify(self, repetition):
        self.check_gradients(range(self.size), repetition)
        set_digest(parameter.data for parameter in self.model.parameters())

    def check_gradients(self, ranks, repetition):
        """They are those of one process that sees the batches of these ranks."""
        self.reference.zero_grad()
        for rank in ranks:
            (loss_of(self.reference, *batch_of(self.name, rank, repetition)) / len(ranks)).backward()
        for (name, mine), right in zip(self.model.named_parameters(), self.reference.parameters()):
            difference = (mine.grad - right.grad).norm().item()
            if not difference <= 1e-3 * right.grad.norm().item() + 1e-7:
                raise Wrong(f"wrong gradient of {name}: it differs by {difference}")


class GradientIs(torch.autograd.Function):
    """A parameter whose gradient is a given tensor."""

    @staticmethod
    def forward(ctx, parameter, gradient):
        ctx.gradient = gradient
        return parameter.new_zeros(())

    @staticmethod
    def backward(ctx, _):
        return ctx.gradient, None


class GivenGradients(torch.nn.Module):
    """A backward that takes no time of its own: gradients are there already, the last parameter's comes first."""

    def __init__(self, shapes):
        super().__init__()
        shapes = list(reversed(shapes))  # they come in the order of readiness
        self.weights = torch.nn.ParameterList(torch.zeros(shape) for shape in shapes)
        self.gradients = Gradients(torch.zeros(shape) for shape in shapes)

    def forward(self):
        return torch.stack([GradientIs.apply(*pair) for pair in zip(self.weights, self.gradients.tensors)]).sum()


class Backward(Contender):
    """The backward of a model with the workload's parameters; its forward is not timed. `wrap`: as for Step."""

    def __init__(self, workload, rank, size, title, wrap):
        self.rank, self.size, self.title = rank, size, f"{title}, a whole backward"
        self.model = GivenGradients(list(workload.shapes.values()))
        self.distributed, self.optimizer = wrap(self.model, torch.optim.SGD(self.model.parameters(), lr=0.01))

    def fill(self, repetition):
        self.model.gradients.fill(self.rank, repetition)
        self.optimizer.zero_grad()
        self.loss = self.distributed()

    def run(self):
        self.loss.backward()

    def verify(self, repetition):
        results = [weight.grad for weight in self.model.weights]
        self.model.gradients.verify(self.size, repetition, 1 / self.size, results)

    def give_back(self):
        self.model.gradients.give_back()


def step_or_backward(workload, rank, size, title, wrap):
    return (Step if workload.is_step else Backward)(workload, rank, size, title, wrap)
