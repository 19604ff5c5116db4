"""PReLU in bf16 on a CPU."""

import pytest
import torch
from torch import Tensor, nn

from srgan_lightning.networks.prelu import PReLU


def run(layer: nn.PReLU, x: Tensor, upstream: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the output of a layer, and the gradients of its input and slope."""
    x = x.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    y.backward(upstream)
    assert x.grad is not None
    assert layer.weight.grad is not None
    return y.detach(), x.grad, layer.weight.grad


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_training_computes_prelu(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 4, 9, 7).to(memory_format=torch.channels_last).to(dtype)
    upstream = torch.randn(x.shape).to(torch.bfloat16)
    y, x_gradient, slope_gradient = run(PReLU(init=0.3), x, upstream)
    with torch.no_grad():
        wide, slope = x.bfloat16().float(), torch.tensor(0.3).bfloat16().float()
        torch.testing.assert_close(y, torch.where(wide > 0, wide, slope * wide).bfloat16(), rtol=0, atol=0)
        expected = torch.where(wide > 0, upstream.float(), slope * upstream.float()).bfloat16()
        torch.testing.assert_close(x_gradient, expected.to(dtype), rtol=0, atol=0)
        sum_ = (upstream.float() * wide)[wide < 0].sum()
        torch.testing.assert_close(slope_gradient, sum_.view(1), rtol=1e-2, atol=1e-2)


def test_only_training_in_bf16_uses_relus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports run in eval mode, and keep PReLU as one operator; float32 keeps its exact results."""
    calls: list[Tensor] = []
    monkeypatch.setattr("srgan_lightning.networks.prelu.F.relu", lambda x: calls.append(x) or torch.relu(x))
    x = torch.randn(1, 4, 5, 5)
    layer = PReLU()
    layer(x)
    layer.eval()(x.bfloat16().to(torch.float32))
    with torch.autocast("cpu", torch.bfloat16):
        layer(x.bfloat16())
    assert not calls
    layer.train()(x.bfloat16())
    assert len(calls) == 2
