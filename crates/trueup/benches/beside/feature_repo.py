"""Ten features of a card for Feast's server, in the Redis of argument 1, written for the cards 0 to
argument 2 less one. Run in the folder of the repository that it makes."""

import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pandas as pd
from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.types import Float64, Int64

REDIS, CARDS = sys.argv[1], int(sys.argv[2])
SHAPE = [(name, Int64 if name.startswith("n_") else Float64) for name in sys.argv[3:]]

Path("feature_store.yaml").write_text(
    "project: beside\nregistry: registry.db\nprovider: local\n"
    f"online_store: {{type: redis, connection_string: '{REDIS}'}}\n"
    "offline_store: {type: file}\nentity_key_serialization_version: 3\n"
)
now = datetime.now(timezone.utc)
frame = pd.DataFrame({"card": range(CARDS), "at": now})
for place, (name, kind) in enumerate(SHAPE):
    frame[name] = (frame["card"] + place).astype("int64" if kind is Int64 else "float64") * (
        1 if kind is Int64 else 1.01
    )
frame.to_parquet("payments.parquet")
card = Entity(name="card", join_keys=["card"], value_type=ValueType.INT64)
view = FeatureView(
    name="risk",
    entities=[card],
    ttl=timedelta(days=1),
    schema=[Field(name="card", dtype=Int64)] + [Field(name=name, dtype=kind) for name, kind in SHAPE],
    source=FileSource(path="payments.parquet", timestamp_field="at"),
)
store = FeatureStore(".")
store.apply([card, view])
store.write_to_online_store("risk", frame)
