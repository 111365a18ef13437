"""Asks a server for features as users of Feast's client do, and prints what the client gave them.

Usage: client.py URL. One JSON object on stdout: the client's version, and by question its answer or
the exception that it raised."""

import json
import sys
import tempfile

from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, RepoConfig
from feast.types import Float64, Int64, String
from feast.value_type import ValueType
from feast.version import get_version


def registered(store):
    """Clients up to 0.63 ask only for what their own registry has."""
    card = Entity(name="card", join_keys=["card"], value_type=ValueType.INT64)
    source = FileSource(path="never-read.parquet", timestamp_field="at")
    risk = FeatureView(
        name="risk",
        entities=[card],
        schema=[
            Field(name="card", dtype=Int64),
            Field(name="payments_last_hour", dtype=Int64),
            Field(name="amount_last_hour", dtype=String),
            Field(name="score_last_hour", dtype=Float64),
            Field(name="logins_last_hour", dtype=Int64),
            Field(name="no_such_feature", dtype=Int64),
        ],
        source=source,
    )
    four = risk[["payments_last_hour", "amount_last_hour", "score_last_hour", "logins_last_hour"]]
    service = FeatureService(name="risk", features=[four])
    store.apply([card, risk, service])
    return service


def main(url):
    folder = tempfile.mkdtemp()
    store = FeatureStore(
        config=RepoConfig(
            project="any",
            provider="local",
            registry=f"{folder}/registry.db",
            online_store={"type": "remote", "path": url},
            entity_key_serialization_version=3,
        )
    )
    service = registered(store)
    features = ["risk:payments_last_hour", "risk:score_last_hour", "risk:amount_last_hour"]
    questions = {
        "one row": (features, [{"card": 1}], False),
        "full names": (features, [{"card": 1}], True),
        "fifty rows": (features, [{"card": card} for card in range(1, 51)], False),
        "a service": (service, [{"card": 1}, {"card": 999}], False),
        "an unknown feature": (["risk:no_such_feature"], [{"card": 1}], False),
        "a card never seen": (features, [{"card": 999}], False),
    }
    answers = {}
    for name, (asked, rows, full) in questions.items():
        try:
            reply = store.get_online_features(
                features=asked, entity_rows=rows, full_feature_names=full
            )
            answers[name] = reply.to_dict()
        except Exception as error:
            answers[name] = {"raised": type(error).__name__, "text": str(error)}
    print(json.dumps({"version": get_version(), "answers": answers}))


main(sys.argv[1])
