"""ONNX: a PyTorch model as the bytes of one file, from uint8 images to embeddings of unit length."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mlbench.deployment.deployed import Deployed
from mlbench.deployment.onnx_packages import check_exporter
from mlbench.errors import ExportError, first_line

__all__ = ["to_int8", "to_onnx", "with_metadata"]

#: Largest number of bytes in one ONNX file, which is protobuf's limit.
_MOST = (1 << 31) - 1


def to_onnx(model: nn.Module, image_size: int) -> bytes:
    """The bytes of an ONNX file that computes the same as `model` in evaluation mode, for any batch size.

    model: images (N, 3, S, S) uint8 in [0, 255] to embeddings (N, D) of any length, in float32 on the CPU,
    not compiled. The file's input is `images`, its output `embeddings`, float32 of unit length. The same
    model gives the same bytes. Raises ExportError.
    """
    check_exporter()
    training = model.training
    deployed = Deployed(model).eval()
    # Two images: for one, the exporter makes the batch size a constant.
    images = torch.zeros((2, 3, image_size, image_size), dtype=torch.uint8)
    try:
        with torch.no_grad(), _quiet():
            program = torch.onnx.export(
                deployed,
                (images,),
                dynamo=True,
                input_names=["images"],
                output_names=["embeddings"],
                dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
                verbose=False,
            )
        assert program is not None
        batch = program.model_proto.graph.input[0].type.tensor_type.shape.dim[0]
        if not batch.dim_param:
            raise ExportError(
                f"this model cannot be exported to ONNX: it has a fixed batch of {batch.dim_value}; "
                "what it does must not depend on the number of images"
            )
        return _plain(program.model_proto)
    except ExportError:
        raise
    # The exporter runs the model's code symbolically and raises errors of many types.
    except Exception as error:
        cause = error.__cause__ or error
        raise ExportError(f"this model cannot be exported to ONNX ({first_line(cause)})") from error
    finally:
        model.train(training)


def to_int8(model: bytes) -> bytes:
    """The ONNX model with the weights of matrix products and convolutions in 8 bits, scaled by output
    channel, and with activations quantised at run time (dynamic quantisation). On most CPUs this makes matrix
    products faster and convolutions slower."""
    check_exporter()
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with _quiet(), tempfile.TemporaryDirectory() as folder:
        source, between, target = (Path(folder, name) for name in ("float32", "between", "int8"))
        source.write_bytes(model)
        # Matrix products are fastest with signed weights; convolutions need unsigned ones, or are slower.
        for file, made, types, weights in (
            (source, between, ["MatMul", "Gemm"], QuantType.QInt8),
            (between, target, ["Conv"], QuantType.QUInt8),
        ):
            quantize_dynamic(file, made, op_types_to_quantize=types, weight_type=weights, per_channel=True)
        return target.read_bytes()


def with_metadata(model: bytes, metadata: Mapping[str, str]) -> bytes:
    """The ONNX model with this metadata and no other."""
    import onnx

    proto = onnx.load_model_from_string(model)
    del proto.metadata_props[:]
    onnx.helper.set_model_props(proto, dict(metadata))
    return bytes(proto.SerializeToString(deterministic=True))


def _plain(proto: Any) -> bytes:
    """A model's bytes without the exporter's metadata, such as lines of source code and paths."""
    graph = proto.graph
    for each in (graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        del each.metadata_props[:]
    # Shapes between the layers, some of which are wrong after constants are folded.
    del graph.value_info[:]
    if proto.ByteSize() > _MOST:
        raise ExportError("the model has more than 2 GB of weights, which one ONNX file cannot hold")
    return bytes(proto.SerializeToString(deterministic=True))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the output, warnings and logs of exporter and quantiser, which users cannot act on."""
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        before = logging.root.manager.disable
        logging.disable(logging.ERROR)
        try:
            yield
        finally:
            logging.disable(before)
