"""Write the weights of an ONNX graph with fewer bits, by the tools of ONNX Runtime."""

import importlib
import logging
from pathlib import Path
from typing import Any, Literal

OnnxDtype = Literal["fp32", "fp16", "int8"]
"""Precision of the weights of an ONNX file."""

RECURRENCES = ["GRU", "LSTM", "RNN"]
"""Operators that stay in fp32: ONNX Runtime has no others for a CPU."""


def in_dtype(onnx: Any, model: Any, dtype: OnnxDtype, folder: Path) -> Any:
    """Return a graph with weights of another precision; inputs and outputs stay float32.

    fp16 halves the file, and products are computed in fp16 if the device has it. int8 quarters it: the weights of products are
    rounded to 8 bits by column, and what they are multiplied with is rounded when it is known (dynamic quantisation). Products with
    one matrix per head, two in a tower, stay in fp32.

    Args:
        onnx: the package.
        model: the graph, in fp32.
        dtype: precision of the weights to write.
        folder: folder for temporary files, which are removed again.
    """
    if dtype == "fp32":
        return model
    if dtype == "fp16":
        half = importlib.import_module("onnxruntime.transformers.float16")
        blocked = [*half.DEFAULT_OP_BLOCK_LIST, *RECURRENCES]
        return half.convert_float_to_float16(model, keep_io_types=True, op_block_list=blocked)
    quantization = importlib.import_module("onnxruntime.quantization")
    target = folder / "int8.onnx"
    logging.disable(logging.WARNING)  # it advises to optimise the graph first, which the exporter has done
    try:
        quantization.quantize_dynamic(
            model,
            target,
            op_types_to_quantize=["MatMul", "Gemm"],
            nodes_to_exclude=_of_stacked_weights(model),
            per_channel=True,
            weight_type=quantization.QuantType.QInt8,
        )
    finally:
        logging.disable(logging.NOTSET)
    return onnx.load(target)


def _of_stacked_weights(model: Any) -> list[str]:
    """Return the names of the products with several matrices at once, for which ONNX Runtime has no rounding by column."""
    stacked = {weight.name for weight in model.graph.initializer if len(weight.dims) > 2}
    return [node.name for node in model.graph.node if node.op_type == "MatMul" and stacked & {*node.input}]
