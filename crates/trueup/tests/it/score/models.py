"""Models for the tests of scoring, as their makers export them, and what ONNX Runtime in Python gives.

    models.py parity ROWS.json FOLDER    writes FOLDER/NAME.onnx and, as the last line of its
                                         output, the score of every row by name, null where the
                                         runtime gives NaN or the row cannot be given to the model
    models.py small FOLDER               writes models of one or two operators

Rows are features as a server answered them. They narrow as docs/scoring.md says: float32 of the
nearest double, NULL as NaN.
"""

import json
import os
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

COLUMNS = ["amount", "speed", "items", "online", "n", "total", "mean_speed", "ratio"]
# Rows that models are fitted on: enough for trees with some leaves.
FITTED = 2000

FLOAT, DOUBLE, INT64 = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64

# What the runtimes of these tests' Python and its exporters have in common.
OPSET = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
IR_VERSION = 8


def write(model, folder, name, **metadata):
    """Under its name when it is whole."""
    for key, value in metadata.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    draft = os.path.join(folder, "." + name)
    onnx.save(model, draft)
    os.replace(draft, os.path.join(folder, name + ".onnx"))


def session(folder, name):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    path = os.path.join(folder, name + ".onnx")
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def numbers(rows, name):
    values = [np.nan if row[name] is None else float(row[name]) for row in rows]
    return np.array(values, dtype=np.float64).astype(np.float32)


def scores(given):
    """The last class's, whether it comes as maps or as a tensor."""
    if isinstance(given, list):
        given = np.array([row[max(row)] for row in given], dtype=np.float64)
    given = np.asarray(given, dtype=np.float64)
    given = given.reshape(len(given), -1)[:, -1]
    return [float(value) if np.isfinite(value) else None for value in given]


def classifiers(table, labels):
    """Fitted models with the name of their file, and how each is exported."""
    import lightgbm
    from onnxmltools import convert_lightgbm
    from onnxmltools.convert.common.data_types import FloatTensorType as LightgbmFloats
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    width = [None, len(COLUMNS)]

    def sklearn(model, **options):
        model.fit(table, labels)
        last = getattr(model, "steps", [(None, model)])[-1][1]
        options = {"options": {id(last): options}} if options else {}
        return convert_sklearn(model, initial_types=[("x", FloatTensorType(width))], **options)

    def logistic():
        return make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression())

    yield "logistic_default", sklearn(logistic())
    yield "logistic", sklearn(logistic(), zipmap=False)
    trees = GradientBoostingClassifier(n_estimators=40, random_state=1)
    yield "gradient_boosting", sklearn(make_pipeline(SimpleImputer(), trees), zipmap=False)
    histogram = HistGradientBoostingClassifier(max_iter=40, random_state=1)
    yield "hist_gradient_boosting", sklearn(histogram, zipmap=False)
    network = MLPClassifier((16, 8), max_iter=60, random_state=1)
    network = make_pipeline(SimpleImputer(), StandardScaler(), network)
    yield "neural_network", sklearn(network, zipmap=False)
    for name, zipmap in [("lightgbm_default", True), ("lightgbm", False)]:
        model = lightgbm.LGBMClassifier(n_estimators=40, num_threads=1, verbose=-1, random_state=1)
        model.fit(table, labels)
        types = [("x", LightgbmFloats(width))]
        yield name, convert_lightgbm(model, initial_types=types, zipmap=zipmap)


def named_inputs():
    """A small network with an input for each column, of every type, and two outputs with numbers."""
    dice = np.random.default_rng(5)

    def constant(name, values):
        return numpy_helper.from_array(np.asarray(values, dtype=np.float32), name)

    inputs = [
        helper.make_tensor_value_info("amount", FLOAT, [None, 1]),
        helper.make_tensor_value_info("n", INT64, [None, 1]),
        helper.make_tensor_value_info("online", TensorProto.BOOL, [None, 1]),
        helper.make_tensor_value_info("merchant", TensorProto.STRING, [None]),
        helper.make_tensor_value_info("mean_speed", DOUBLE, [None, 1]),
    ]
    nodes = [
        helper.make_node("Cast", ["n"], ["n_float"], to=FLOAT),
        helper.make_node("Cast", ["online"], ["online_float"], to=FLOAT),
        helper.make_node("Cast", ["mean_speed"], ["speed_float"], to=FLOAT),
        helper.make_node(
            "LabelEncoder", ["merchant"], ["merchant_number"], domain="ai.onnx.ml",
            keys_strings=["m0", "m1", "m2"], values_floats=[0.5, -1.0, 2.0], default_float=0.25,
        ),
        helper.make_node("Reshape", ["merchant_number", "column"], ["merchant_float"]),
        helper.make_node(
            "Concat", ["amount", "n_float", "online_float", "merchant_float", "speed_float"],
            ["all"], axis=1,
        ),
        helper.make_node("Mul", ["all", "scale"], ["scaled"]),
        helper.make_node("MatMul", ["scaled", "first"], ["hidden"]),
        helper.make_node("Tanh", ["hidden"], ["bent"]),
        helper.make_node("MatMul", ["bent", "second"], ["raw"]),
        helper.make_node("Sigmoid", ["raw"], ["probability"]),
    ]
    outputs = [
        helper.make_tensor_value_info("raw", FLOAT, [None, 1]),
        helper.make_tensor_value_info("probability", FLOAT, [None, 1]),
    ]
    weights = [
        constant("scale", [0.01, 0.1, 1, 1, 0.05]),
        constant("first", dice.normal(size=(5, 8))),
        constant("second", dice.normal(size=(8, 1))),
        numpy_helper.from_array(np.array([-1, 1]), "column"),
    ]
    return model(nodes, inputs, outputs, weights)


def model(nodes, inputs, outputs, weights=()):
    graph = helper.make_graph(nodes, "graph", inputs, outputs, initializer=list(weights))
    opset = OPSET + [helper.make_opsetid("nobody", 1)]
    return helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION)


def score_by_name(folder, rows):
    """The scores of the network with an input for each column; rows with NULL where its input has none
    are left out."""
    whole = [n for n, row in enumerate(rows) if None not in (row["online"], row["merchant"])]
    kept = [rows[n] for n in whole]
    feed = {
        "amount": numbers(kept, "amount").reshape(-1, 1),
        "n": np.array([[row["n"]] for row in kept], dtype=np.int64),
        "online": np.array([[row["online"]] for row in kept], dtype=bool),
        "merchant": np.array([row["merchant"] for row in kept], dtype=object),
        "mean_speed": np.array(
            [[np.nan if row["mean_speed"] is None else row["mean_speed"]] for row in kept]
        ),
    }
    found = [None] * len(rows)
    given = session(folder, "named_inputs").run(["probability"], feed)[0]
    for place, score in zip(whole, scores(given)):
        found[place] = score
    return found


def parity(path, folder):
    with open(path, encoding="utf-8") as file:
        asked = json.load(file)
    rows = asked["rows"]
    table = np.column_stack([numbers(rows, name) for name in COLUMNS])
    dice = np.random.default_rng(3)
    risk = np.nan_to_num(table[:, 0]) / 100 + np.nan_to_num(table[:, 4]) / 5
    labels = (risk + dice.normal(size=len(rows)) > np.median(risk)).astype(np.int64)
    said = {"trueup_view": "risk", "trueup_digest": asked["digest"]}
    found = {}
    few = slice(FITTED)
    for name, exported in classifiers(table[few], labels[few]):
        write(exported, folder, name, trueup_columns=", ".join(COLUMNS), **said)
        runtime = session(folder, name)
        output = runtime.get_outputs()[-1].name
        found[name] = scores(runtime.run([output], {"x": table})[0])
    write(named_inputs(), folder, "named_inputs", **said)
    found["named_inputs"] = score_by_name(folder, rows)
    print(json.dumps(found))


def small(folder):
    value = helper.make_tensor_value_info

    def column(name, kind=FLOAT, shape=(None, 1)):
        return value(name, kind, list(shape))

    score = [column("score")]

    def always(number):
        """This number for every row."""
        weights = [numpy_helper.from_array(np.array([[x]], dtype=np.float32), name)
                   for name, x in [("zero", 0), ("number", number)]]
        nodes = [helper.make_node("Mul", ["n", "zero"], ["nothing"]),
                 helper.make_node("Add", ["nothing", "number"], ["score"])]
        return model(nodes, [column("n")], score, weights)

    write(always(1), folder, "one", trueup_view="risk")
    write(always(2), folder, "two", trueup_view="risk")
    identity = helper.make_node("Identity", ["n"], ["score"])
    write(model([identity], [column("n")], score), folder, "count", trueup_view="risk")
    write(always(1), folder, "of_no_view")
    write(always(1), folder, "of_another", trueup_view="risk", trueup_digest="00" * 32)
    cast = helper.make_node("Cast", ["items"], ["score"], to=FLOAT)
    write(model([cast], [column("items", INT64)], score), folder, "integers", trueup_view="risk")
    identity = helper.make_node("Identity", ["amount"], ["score"])
    write(model([identity], [column("amount")], score), folder, "amount", trueup_view="risk")
    mystery = helper.make_node("Mystery", ["n"], ["score"], domain="nobody")
    write(model([mystery], [column("n")], score), folder, "mystery", trueup_view="risk")
    flat = helper.make_node("Flatten", ["x"], ["score"], axis=1)
    image = model([flat], [column("x", shape=(1, 3, 8, 8))], [column("score", shape=(1, 192))])
    write(image, folder, "image", trueup_view="risk")
    half = helper.make_node("Cast", ["n"], ["score"], to=FLOAT)
    half = model([half], [column("n", TensorProto.FLOAT16)], score)
    write(half, folder, "half", trueup_view="risk")
    identity = helper.make_node("ReduceMean", ["x"], ["score"], axes=[1])
    wide = model([identity], [column("x", shape=(None, 4))], score)
    write(wide, folder, "of_no_columns", trueup_view="risk")
    slow(folder, column, score)


def slow(folder, column, score):
    """Some seconds of multiplication for any row."""
    size = 1500
    nodes = [
        helper.make_node("ReduceMean", ["n"], ["mean"], keepdims=0),
        helper.make_node("Expand", ["mean", "shape"], ["m0"]),
    ]
    steps = 40
    for step in range(steps):
        nodes.append(helper.make_node("MatMul", [f"m{step}", "m0"], [f"x{step}"]))
        nodes.append(helper.make_node("Sigmoid", [f"x{step}"], [f"m{step + 1}"]))
    nodes.append(helper.make_node("ReduceMean", [f"m{steps}"], ["last"], keepdims=0))
    nodes.append(helper.make_node("Add", ["n", "last"], ["score"]))
    shape = numpy_helper.from_array(np.array([size, size]), "shape")
    write(model(nodes, [column("n")], score, [shape]), folder, "slow", trueup_view="risk")


if __name__ == "__main__":
    parity(*sys.argv[2:]) if sys.argv[1] == "parity" else small(*sys.argv[2:])
