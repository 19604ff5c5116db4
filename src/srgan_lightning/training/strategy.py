"""Distributed data parallel for two networks that are trained in turn."""

from typing import Any

from lightning.pytorch.overrides.distributed import prepare_for_backward
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel


class PerNetworkDDP(DDPStrategy):
    """One gradient reducer per network: a backward pass sends the gradients of the network that it trains, once.

    Lightning's DDP has one reducer for the whole module. With two optimisers it sends the gradients of both networks in
    each of the two backward passes, those of the other network as zeros, and does so in every accumulated batch.

    The module names in `synced` the network whose gradients the next backward pass completes; with None they stay on
    their process. Every parameter of that network must be used; `trainer.strategy=ddp_find_unused_parameters_true` is
    for those that are not. Buffers are not broadcast: see `process_mean`.
    """

    def configure_ddp(self) -> None:
        # The module itself is not wrapped, and no forward pass goes through these: reducers hook into parameters.
        assert self.model is not None
        self.reducers: dict[str, DistributedDataParallel] = {
            name: self._setup_model(network)
            for name, network in self.model.named_children()
            if any(parameter.requires_grad for parameter in network.parameters())
        }

    def pre_backward(self, closure_loss: Tensor) -> None:
        module: Any = self.lightning_module
        if module.synced in self.reducers:
            prepare_for_backward(self.reducers[module.synced], closure_loss)

    def teardown(self) -> None:
        self.reducers = {}
        super().teardown()
