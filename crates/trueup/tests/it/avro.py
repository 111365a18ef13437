"""Writes records as Avro with fastavro, for tests of what reads them.

Standard input is one JSON object: `schema`, `records` (values as JSON has them: decimals, dates and
times as text), `framing` (`bare`, `confluent` with `id`, or `single-object`). Standard output has a
record a line, in base64.
"""

import base64
import datetime
import decimal
import io
import json
import struct
import sys

import fastavro
from fastavro.schema import fingerprint, to_parsing_canonical_form


def value(schema, given):
    """What fastavro takes for a value of this type."""
    if isinstance(schema, list):
        if given is None:
            return None
        return value(next(branch for branch in schema if branch != "null"), given)
    if not isinstance(schema, dict) or given is None:
        return given
    kind = schema.get("logicalType")
    if kind == "decimal":
        return decimal.Decimal(given)
    if kind == "date":
        return datetime.date.fromisoformat(given)
    if kind in ("timestamp-millis", "timestamp-micros"):
        return datetime.datetime.fromisoformat(given.replace("Z", "+00:00"))
    if kind in ("local-timestamp-millis", "local-timestamp-micros"):
        return datetime.datetime.fromisoformat(given.removesuffix("Z"))
    if schema["type"] == "record":
        fields = schema["fields"]
        return {field["name"]: value(field["type"], given.get(field["name"])) for field in fields}
    return given


def main():
    asked = json.load(sys.stdin)
    schema = asked["schema"]
    parsed = fastavro.parse_schema(json.loads(json.dumps(schema)))
    head = b""
    if asked["framing"] == "confluent":
        head = struct.pack(">bI", 0, asked["id"])
    elif asked["framing"] == "single-object":
        mark = fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO")
        head = b"\xc3\x01" + bytes.fromhex(mark)
    for record in asked["records"]:
        out = io.BytesIO()
        fastavro.schemaless_writer(out, parsed, value(schema, record))
        print(base64.b64encode(head + out.getvalue()).decode())


main()
