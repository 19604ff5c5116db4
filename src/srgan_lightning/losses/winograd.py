"""Convolutions of frozen networks by Winograd's algorithm (Lavin and Gray 2015, arXiv 1509.09308), in bf16 on CPUs."""

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from srgan_lightning.utils.bf16 import cpu_capabilities


def _both_axes(matrix: list[list[float]]) -> Tensor:
    """Return the matrix that applies `matrix` to rows and columns of flattened squares; bf16 holds it exactly."""
    one_axis = torch.tensor(matrix, dtype=torch.bfloat16)
    return torch.kron(one_axis, one_axis)


# F(2x2, 3x3): 16 products give 2 x 2 output pixels, which take 36 otherwise. Larger tiles save more products, but their
# rounding errors in bf16 are too large.
INPUT = _both_axes([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])
KERNEL = _both_axes([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
OUTPUT = _both_axes([[1, 1, 1, 0], [0, 1, -1, -1]])
#: Index of the product that each of the four output pixels contains once. The bias is added to it.
SHARED = 5
#: Fewest input and output channels with which the saved products outweigh the transforms.
MIN_CHANNELS = (128, 256)
#: Number of output pixels that a thread computes at once, so that their tiles stay in its cache.
PIXELS = 1024


class FrozenConv3x3(nn.Conv2d):
    """A 3x3 convolution with padding 1 and frozen weights, by Winograd's algorithm where that is faster.

    It is faster in bf16 on CPUs with AVX512_BF16 and without AMX, for many channels. oneDNN has no such algorithm for
    bf16. Rounding errors are about twice those of a direct convolution in bf16, and the gradient cannot be
    differentiated again. The transformed weights stay in memory, 134 MB for VGG up to relu5_4. Everywhere else, and for
    odd sides, this layer is `nn.Conv2d`.
    """

    @classmethod
    def share(cls, layer: nn.Conv2d) -> "FrozenConv3x3":
        """Return a layer with the same parameters as a 3x3 convolution with padding 1."""
        # On the meta device, no random numbers are drawn for initial weights.
        shared = cls(layer.in_channels, layer.out_channels, 3, padding=1, device="meta")
        shared.weight, shared.bias = layer.weight, layer.bias
        return shared

    def forward(self, x: Tensor) -> Tensor:
        if not self._use_winograd(x):
            return super().forward(x)
        result: Tensor = _Winograd.apply(x, *self._transformed_weights(), self.bias)  # type: ignore[no-untyped-call]
        return result

    def _use_winograd(self, x: Tensor) -> bool:
        return (
            (self.in_channels >= MIN_CHANNELS[0] and self.out_channels >= MIN_CHANNELS[1])
            and (x.dtype == torch.bfloat16 and x.device.type == "cpu")  # in autocast, the layers before return bf16
            and (x.ndim == 4 and x.shape[-1] % 2 == x.shape[-2] % 2 == 0)
            and not any(parameter.requires_grad for parameter in self.parameters())
            and not self.weight.is_inference()  # inference tensors do not count their changes
            and not torch.compiler.is_compiling()
            and _pays()
        )

    def _transformed_weights(self) -> tuple[Tensor, Tensor]:
        """Return the transformed weights for the forward and the backward pass, which are kept until weights change."""
        state = (self.weight.data_ptr(), self.weight._version)
        if getattr(self, "transformed_state", None) != state:
            self.transformed_state = state
            self.transformed_from = self.weight.detach()  # kept, so that no other weights get its address
            turned = self.weight.flip(2, 3).transpose(0, 1)
            self.transformed = (transform_weights(self.weight), transform_weights(turned))
        return self.transformed


@cache
def _pays() -> bool:
    """Check for AVX512_BF16 without AMX. With AMX, matrix products are so fast that the transforms take longer."""
    features = cpu_capabilities()
    return bool(features.get("avx512_bf16")) and not features.get("amx_bf16")


def transform_weights(weight: Tensor) -> Tensor:
    """Map (C out, C in, 3, 3) weights to (16, C in, C out) in bf16."""
    flat = weight.detach().float().permute(2, 3, 1, 0).flatten(0, 1).flatten(1)  # (9, C in * C out)
    with torch.autocast(weight.device.type, enabled=False):  # round only the result
        return (KERNEL.float() @ flat).view(16, weight.shape[1], weight.shape[0]).bfloat16()


def convolve(x: Tensor, weights: Tensor, bias: Tensor | None = None) -> Tensor:
    """Convolve (B, C in, H, W) with transformed weights (16, C in, C out) and padding 1.

    Args:
        x: input in bf16; both sides are even.
        weights: see `transform_weights`.
        bias: (C out).

    Returns:
        (B, C out, H, W) in bf16 and channels_last.
    """
    batch, _, height, width = x.shape
    shape = (batch, weights.shape[2], height, width)
    result = torch.empty(shape, dtype=x.dtype, memory_format=torch.channels_last)
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1)).contiguous()  # (B, H + 2, W + 2, C in)
    pixels = result.permute(0, 2, 3, 1)
    most = PIXELS * torch.get_num_threads()
    images, rows = max(1, most // (height * width)), max(2, most // width // 2 * 2)
    for part, out in zip(torch.split(padded, images), torch.split(pixels, images), strict=True):
        for top in range(0, height, rows):
            _convolve(part[:, top:], weights, bias, out[:, top : top + rows])
    return result


def _convolve(padded: Tensor, weights: Tensor, bias: Tensor | None, out: Tensor) -> None:
    batch, height, width, channels_out = out.shape
    rows, columns, channels_in = height // 2, width // 2, padded.shape[-1]
    image, row, column, channel = padded.stride()
    # Tiles of 4 x 4 input pixels, which overlap by two pixels.
    tiles = padded.as_strided(
        (4, 4, batch, rows, columns, channels_in),
        (row, column, image, 2 * row, 2 * column, channel),
        padded.storage_offset(),
    )
    transformed = INPUT @ tiles.reshape(16, -1)
    products = transformed.view(16, -1, channels_in) @ weights
    if bias is not None:
        products[SHARED] += bias
    pixels = OUTPUT @ products.view(16, -1)
    target = out.view(batch, rows, 2, columns, 2, channels_out).permute(2, 4, 0, 1, 3, 5)
    target.copy_(pixels.view(target.shape))


class _Winograd(torch.autograd.Function):
    """The gradient of a convolution's input is a convolution with the turned weights; others need no gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weights: Tensor, backward_weights: Tensor, bias: Tensor) -> Tensor:
        ctx.backward_weights = backward_weights
        return convolve(x, weights, bias)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        return convolve(gradient, ctx.backward_weights), None, None, None
