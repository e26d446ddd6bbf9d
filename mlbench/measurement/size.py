"""Sizes of a deployed model: floating point operations of one image, and bytes of a stored checkpoint."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from mlbench.training.model import EmbeddingModel

__all__ = ["checkpoint_bytes", "flops"]


def flops(model: EmbeddingModel, side: int) -> int:
    """Floating point operations of embedding one image of `side` pixels, a multiply-add counting as two.

    Counts convolutions, matrix products and attention, but by convention no norms, activations and pooling.
    Half of it is the number of multiply-accumulates (MACs).
    """
    device = next(model.parameters()).device
    image = torch.zeros((1, 3, side, side), dtype=torch.uint8, device=device)
    counter = FlopCounterMode(display=False)
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # its fused operation has no FLOP formula
    try:
        with torch.no_grad(), torch.compiler.set_stance("force_eager"), counter:
            model(image)
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
    return int(counter.get_total_flops())


def checkpoint_bytes(model: EmbeddingModel, dtype: torch.dtype) -> int:
    """Bytes of the model as a safetensors file, with floating point tensors in `dtype`."""
    from safetensors.torch import save

    kept: dict[str, torch.Tensor] = {}
    seen = set()
    for name, tensor in model.state_dict().items():
        if tensor.data_ptr() in seen and tensor.numel():
            continue  # shared weights are stored once
        seen.add(tensor.data_ptr())
        kept[name] = (tensor.to(dtype) if tensor.is_floating_point() else tensor).cpu().contiguous()
    return len(save(kept))
