"""DuckDB as the judge of random definitions: `random_judge.py FOLDER`.

The folder is written by the test `random_sql` of the crate `offline`: `definitions.jsonl` with each
definition's SQL and our rows, `transactions.parquet` and `logins.parquet` with the events of all.
Prints one JSON line for each definition that differs, with the first row of each column that does,
and a summary as the last line. Needs the Python package `duckdb`.
"""

import collections
import json
import pathlib
import sys

import duckdb

from duckdb_judge import DATE_BIN, dialect
from judging import Text, agrees

STREAMS = ("transactions", "logins")

# Definitions that are printed at most; more are counted.
MAX_PRINTED = 20


def same(expected, got, exact, scale):
    """Whether a value is the expected one: to the last bit, or within 1e-9 of `scale`."""
    if type(expected) is type(got) and expected == got:
        return True
    if isinstance(expected, Text) and isinstance(got, float):
        if exact or float(expected) == got:
            return float(expected) == got
    return agrees(expected, got, scale or 0)


def differences(line, theirs):
    """The first difference of each column, as text."""
    columns = line["columns"]
    ours = {row[0]: row[1:] for row in line["rows"]}
    if len(ours) != len(theirs) or ours.keys() != theirs.keys():
        missing = sorted(ours.keys() ^ theirs.keys(), key=str)
        yield f"the view has {len(ours)} rows here and {len(theirs)} there, such as {missing[:3]}"
        return
    for place, column in enumerate(columns):
        for key, row in ours.items():
            got, scale = theirs[key][2 * place], theirs[key][2 * place + 1]
            if not same(row[place], got, column["exact"], scale):
                name = column["name"]
                slack = "none" if column["exact"] else f"1e-9 of {scale!r}"
                yield f"{name} of row {key}: {row[place]!r} here, {got!r} there, slack {slack}"
                break


def judge(database, line):
    for stream in STREAMS:
        database.execute(
            f"CREATE OR REPLACE TEMP TABLE {stream} AS SELECT * EXCLUDE (definition) "
            f"FROM every_{stream} WHERE definition = {line['definition']}"
        )
    rows = database.execute(dialect(line["judged"])).fetchall()
    return list(differences(line, {row[0]: row[1:] for row in rows}))


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: random_judge.py FOLDER")
    folder = pathlib.Path(sys.argv[1])
    summary = {"definitions": 0, "rows": 0, "compared": 0, "values": 0, "failed": 0}
    constructs = collections.defaultdict(lambda: [0, 0])
    with duckdb.connect(":memory:", config={"threads": 1}) as database:
        database.execute(DATE_BIN)
        # It gathers constants, (k + a) + b as k + (a + b), and then what overflows is another sum.
        database.execute("SET disabled_optimizers = 'expression_rewriter'")
        for stream in STREAMS:
            path = folder / f"{stream}.parquet"
            database.execute(f"CREATE TABLE every_{stream} AS SELECT * FROM '{path}'")
        for text in (folder / "definitions.jsonl").open():
            line = json.loads(text, parse_float=Text)
            try:
                found = judge(database, line)
            except duckdb.Error as error:
                found = [f"DuckDB refuses: {error}"]
            rows = line["rows"]
            summary["definitions"] += 1
            summary["rows"] += len(rows)
            summary["failed"] += bool(found)
            for place, column in enumerate(line["columns"]):
                summary["compared"] += len(rows)
                summary["values"] += sum(row[place + 1] is not None for row in rows)
                for construct in column["made_of"]:
                    constructs[construct][0] += 1
                    constructs[construct][1] += len(rows)
            if found and summary["failed"] <= MAX_PRINTED:
                about = {name: line[name] for name in ("definition", "sql", "judged")}
                print(json.dumps(about | {"what": "\n".join(found)}, ensure_ascii=False))
    summary["constructs"] = dict(sorted(constructs.items()))
    print(json.dumps(summary, ensure_ascii=False))


if __name__ == "__main__":
    main()
