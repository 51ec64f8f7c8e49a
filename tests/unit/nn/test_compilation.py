"""``train.compile``: which networks it reaches, and that a compiled one learns what it would have learned."""

import pytest
import torch

from contract.spaces import SPACES, WIDTH, needs_model
from polymodal.codecs import CODECS
from polymodal.encoders import ENCODERS
from polymodal.heads import HEADS
from polymodal.heads.flow import Flow
from polymodal.nn.compilation import _methods, compile_networks, restore_networks
from polymodal.nn.random import make_keys, normal
from polymodal.nn.transformer import Transformer
from polymodal.types import Context, Field, Space

pytestmark = pytest.mark.filterwarnings("ignore")  # PyTorch's compiler warns of its own doings

NONE = {("head", "recurrent"), ("encoder", "vector")}
"""Parts without a network that is compiled: an LSTM and a perceptron."""
TABLES = {"head": (HEADS, (WIDTH,)), "encoder": (ENCODERS, (WIDTH,)), "codec": (CODECS, ())}
PARTS = [(family, kind) for family, (table, _) in TABLES.items() for kind in table if not needs_model(table[kind])]


@pytest.mark.parametrize(("family", "kind"), PARTS)
def test_it_reaches_every_network(family, kind):
    table, width = TABLES[family]
    space = next(space for space in SPACES.values() if table[kind].accepts(space) is None)
    part = table[kind](space, *width)
    before = {id(module): name for module, name, _ in _methods(part)}
    assert bool(before) == ((family, kind) not in NONE)
    compile_networks(part)
    assert all(name in module.__dict__ for module, name, _ in _methods(part))
    restore_networks(part)
    assert not any(name in module.__dict__ for module, name, _ in _methods(part))


def test_each_network_is_compiled_on_its_own(monkeypatch):
    """PyTorch compiles the same code eight times at most."""
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    compiler = torch.compile
    monkeypatch.setattr(
        torch, "compile", lambda function, dynamic: compiler(function, backend=backend, dynamic=dynamic)
    )
    networks = torch.nn.ModuleList(Transformer(8, 1, 1) for _ in range(10))
    compile_networks(networks)
    for rows in (2, 3):
        for network in networks:
            network(torch.zeros(rows, 4, 8))
    assert len(graphs) == 10


def test_a_compiled_unet_gives_the_same_gradients(monkeypatch):
    import torch._inductor.config

    monkeypatch.setattr(torch._inductor.config, "compile_threads", 1)  # processes take longer to start than to work
    torch.manual_seed(0)
    head = Flow(Space("continuous", (1, 4, 4)), 4, hidden_size=8, channels=(4,), patch=2, repeats=1)
    for parameter in head.parameters():
        parameter.data.normal_(std=0.2)
    context = Context(torch.zeros(3, 1, 4), torch.ones(3, 1, dtype=torch.bool), torch.ones(3, 4))
    target = Field.full(normal(make_keys(1, 3), (1, 4, 4)))

    def gradients() -> list[torch.Tensor]:
        head.zero_grad()
        head.loss(context, target, "model", make_keys(0, 3))["flow"].sum().backward()
        return [parameter.grad for parameter in head.parameters()]

    plain = gradients()
    compile_networks(head)
    for found, wanted in zip(gradients(), plain, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-5)
