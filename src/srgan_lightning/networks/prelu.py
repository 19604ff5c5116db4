"""PReLU with a faster backward pass in bf16 on CPUs."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PReLU(nn.PReLU):
    """`nn.PReLU` with one slope, computed from two ReLUs when it trains in bf16 on a CPU.

    Forward and backward pass together take a third of the time there, because PyTorch vectorises ReLU's backward
    pass in bf16, but not PReLU's. The gradient at exactly 0 is then 0, not the slope. In eval mode, and so in every
    export, it is `nn.PReLU`.
    """

    def forward(self, x: Tensor) -> Tensor:
        if self.training and x.dtype == torch.bfloat16 and x.device.type == "cpu":
            return F.relu(x) - self.weight.to(x.dtype) * F.relu(-x)
        return super().forward(x)
