"""Writes the model of the story, and says where the library is that runs it: `model.py FOLDER`.

A logistic regression with weights by hand, since the story is about the time that its features
take: many payments within the hour, much money within the day and declines make a fraud likely.
Needs the packages of requirements.txt.
"""

import glob
import os
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

WEIGHTS = {
    "amount": 0.002,
    "user_transaction_count_last_hour": 0.3,
    "user_amount_last_day": 0.0004,
    "user_declines_last_day": 0.5,
}
BIAS = -4.0

# Old enough for every runtime that the server takes.
OPSET, IR_VERSION = 17, 8


def model():
    weights = np.array([[weight] for weight in WEIGHTS.values()], dtype=np.float32)
    constants = [
        numpy_helper.from_array(weights, "weights"),
        numpy_helper.from_array(np.array([BIAS], dtype=np.float32), "bias"),
    ]
    nodes = [
        helper.make_node("Gemm", ["features", "weights", "bias"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["score"]),
    ]
    takes = helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, len(WEIGHTS)])
    gives = helper.make_tensor_value_info("score", TensorProto.FLOAT, [None, 1])
    graph = helper.make_graph(nodes, "fraud", [takes], [gives], initializer=constants)
    opsets = [helper.make_opsetid("", OPSET)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
    # The server reads from the model which features it wants, and in which order.
    helper.set_model_props(made, {"trueup_view": "fraud", "trueup_columns": ",".join(WEIGHTS)})
    return made


def main():
    (folder,) = sys.argv[1:]
    onnx.save(model(), os.path.join(folder, "fraud.onnx"))
    package = os.path.dirname(onnxruntime.__file__)
    (library,) = glob.glob(os.path.join(package, "capi", "libonnxruntime.so*"))
    print(library)


if __name__ == "__main__":
    main()
