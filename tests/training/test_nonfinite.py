"""A discriminator that takes several steps an update: none of them follows one that was not finite."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import nn

from srgan_lightning.training.callbacks import NonFinite


@pytest.mark.parametrize("fused", [True, False])
def test_no_step_of_an_update_follows_a_faulty_one(fused: bool) -> None:
    networks = [nn.Linear(2, 2), nn.Linear(2, 2)]
    generator, discriminator = (torch.optim.Adam(net.parameters(), lr=0.1, fused=fused) for net in networks)
    trainer = cast(Any, SimpleNamespace(optimizers=[generator, discriminator], precision_plugin=SimpleNamespace()))
    module = cast(Any, nn.ModuleList(networks))
    callback = NonFinite()
    callback.bn_buffers, callback.bn_backup = [torch.zeros(1)], [torch.ones(1)]

    def step(optimizer: torch.optim.Optimizer, value: float) -> None:
        for weight in optimizer.param_groups[0]["params"]:
            weight.grad = torch.full_like(weight, value)
        callback.on_before_optimizer_step(trainer, module, optimizer)
        optimizer.step()
        optimizer.zero_grad()

    before = [weight.clone() for weight in module.parameters()]
    for optimizer, value in ((discriminator, 1.0), (discriminator, float("nan"))):
        step(optimizer, value)
    sound = [weight.clone() for weight in networks[1].parameters()]
    assert not any(map(torch.equal, before[2:], sound))
    step(discriminator, 1.0)
    step(generator, 1.0)
    assert all(map(torch.equal, sound, networks[1].parameters()))
    assert all(map(torch.equal, before[:2], networks[0].parameters()))
    assert callback.bad_gradients
    assert callback.bn_buffers[0] == 1  # put back
