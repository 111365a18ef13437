"""DuckDB as the judge of golden cases: `duckdb_judge.py CASES_FOLDER`.

Prints one JSON line per case on stdout and a summary on stderr; exits with 1 if a value differs.
Needs the Python package `duckdb`. The dialect differences are those below and no others.
"""

import re
import sys

import duckdb

from judging import judge_folder

# DuckDB has time_bucket where PostgreSQL and the definitions have date_bin.
DATE_BIN = """CREATE MACRO date_bin(width, moment)
    AS time_bucket(width, moment, TIMESTAMP '1970-01-01'),
    (width, moment, origin) AS time_bucket(width, moment, origin)"""

# Over events that are all at hand our approximate aggregates are exact, so the exact ones judge.
EXACT_NAMES = [
    (re.compile(r"\bapprox_percentile_cont\("), "quantile_cont("),
    (re.compile(r"\bapprox_distinct\("), "count(DISTINCT "),
]


def dialect(sql):
    for ours, theirs in EXACT_NAMES:
        sql = ours.sub(theirs, sql)
    return sql


def asker(database):
    def ask(case, view, contents, key):
        # All in one transaction that is rolled back: no request can see another's row.
        database.begin()
        try:
            for table in case.tables.values():
                database.execute(table.create)
                if rows := table.literal_rows(contents[table.name]):
                    values = [value for row in rows for value in row]
                    database.execute(table.insert("?", len(rows)), values)
            sql, stream = case.views[view]
            database.execute(dialect(sql))
            key_column = case.tables[stream].key
            answer = database.execute(f"SELECT * FROM {view} WHERE {key_column} = ?", [key])
            names = [column[0] for column in answer.description]
            return [dict(zip(names, row)) for row in answer.fetchall()]
        finally:
            database.rollback()

    return ask


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: duckdb_judge.py CASES_FOLDER")
    with duckdb.connect(":memory:", config={"threads": 1}) as database:
        database.execute(DATE_BIN)
        sys.exit(judge_folder("duckdb", sys.argv[1], asker(database)))


if __name__ == "__main__":
    main()
