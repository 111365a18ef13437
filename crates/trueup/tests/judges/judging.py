"""What the judges share: reading golden cases, filling typed tables, comparing rows.

A judge is a database that runs a case's SQL as it stands and must give the expected rows. Nothing
here computes a feature: the judge asks the database for whole rows of the view and compares them.

What is changed before the SQL reaches the database, and no more:

- `WITH (...)` behind `CREATE TABLE (...)` goes, since it declares the stream and not the table;
- each database's own list of dialect differences, which its judge names (see docs/judges.md).
"""

import datetime
import json
import pathlib
import re
import sys
from dataclasses import dataclass
from fractions import Fraction

# Doubles may differ from ours by this much of the largest input: databases round at every step.
TOLERANCE = Fraction(1, 10**9)

INTEGERS = ("SMALLINT", "INTEGER", "BIGINT")


class Unfit(Exception):
    """A case that its own header wrongly gives to this judge, or that cannot be read."""


@dataclass
class Table:
    """A stream as a table: its plain CREATE TABLE, and what is needed to fill it."""

    name: str
    create: str
    columns: list  # (name, type)
    key: str
    event_time: str

    def literal_rows(self, events):
        """The events as rows of texts in the order of the columns, times in UTC."""
        return [[text_of(event.get(name), ty) for name, ty in self.columns] for event in events]

    def insert(self, placeholder, rows=1):
        """An INSERT that casts each text to its column's type, and refuses what does not fit."""
        values = ", ".join(f"CAST({placeholder} AS {ty})" for _, ty in self.columns)
        return f"INSERT INTO {self.name} VALUES " + ", ".join([f"({values})"] * rows)

    def time_of(self, event):
        return parse_time(event[self.event_time])


@dataclass
class Case:
    """One folder of `cases/`."""

    name: str
    judges: set
    up_to_request: bool
    tables: dict
    views: dict  # name -> (CREATE VIEW, name of its stream)
    events: list  # (stream, event), dead letters left out
    requests: list
    expected: list

    @staticmethod
    def read(folder):
        text = (folder / "definition.sql").read_text()
        dead = {letter["index"] for letter in lines_of(folder / "dead_letters.jsonl")}
        log = enumerate(lines_of(folder / "events.jsonl"))
        tables = {table.name: table for table in tables_of(text)}
        case = Case(
            name=folder.name,
            judges=judges_of(text),
            up_to_request="\n-- judges see: the events up to each request\n" in text,
            tables=tables,
            views={name: (sql, stream) for name, sql, stream in views_of(text)},
            events=[(line["stream"], line["event"]) for index, line in log if index not in dead],
            requests=lines_of(folder / "requests.jsonl"),
            expected=lines_of(folder / "expected.jsonl"),
        )
        if len(case.requests) != len(case.expected):
            raise Unfit("requests and expected rows differ in number")
        return case

    def contents(self, stream, row):
        """What each table holds for one request: every event once, the row in place of its own."""
        key = self.tables[stream].key
        contents = {name: {} for name in self.tables}
        for name, event in self.events:
            table = self.tables[name]
            known = contents[name].setdefault(str(event[table.key]), event)
            if table.literal_rows([known]) != table.literal_rows([event]):
                raise Unfit(f"id {event[table.key]} has two contents, which SQL cannot settle")
        contents[stream][str(row[key])] = row
        if self.up_to_request:
            at = self.tables[stream].time_of(row)
            for name, events in contents.items():
                time_of = self.tables[name].time_of
                contents[name] = {id: e for id, e in events.items() if time_of(e) <= at}
        return {name: list(events.values()) for name, events in contents.items()}

    def magnitude(self):
        """The largest number among the inputs, ids of events left out."""
        rows = self.events + [(self.views[r["view"]][1], r.get("row", {})) for r in self.requests]
        largest = Fraction(0)
        for stream, row in rows:
            table = self.tables[stream]
            for name, ty in table.columns:
                value = row.get(name)
                if name != table.key and value is not None and is_number(ty):
                    largest = max(largest, abs(Fraction(str(value))))
        return largest


def lines_of(path):
    """JSON lines; numbers with a point keep their text. An absent file has none."""
    if not path.exists():
        return []
    return [json.loads(line, parse_float=Text) for line in path.read_text().splitlines() if line]


class Text(str):
    """The text of a JSON number with a point or an exponent."""


def judges_of(text):
    header = re.search(r"^-- judges: (.+)$", text, re.M)
    if not header:
        raise Unfit("the header names no judges")
    names = {name.strip() for name in header[1].partition("(")[0].split(",")}
    if not names <= {"duckdb", "postgres", "none"} or ("none" in names and len(names) > 1):
        raise Unfit(f"the header names unknown judges: {header[1]}")
    return names - {"none"}


def statements_of(text):
    plain = "\n".join(line for line in text.splitlines() if not line.startswith("--"))
    return [statement.strip() for statement in plain.split(";") if statement.strip()]


def tables_of(text):
    shape = re.compile(r"CREATE TABLE (\w+) \((.*)\) WITH \((.*)\)", re.S)
    for statement in statements_of(text):
        if not (match := shape.fullmatch(statement)):
            continue
        name, body, options = match.groups()
        columns, key = [], None
        for definition in re.split(r",(?![^(]*\))", body):
            column, ty = definition.split(None, 1)
            if "PRIMARY KEY" in ty:
                key = column
            columns.append((column, re.sub(r"\s*(NOT NULL|PRIMARY KEY)", "", ty).strip()))
        time = re.search(r"event_time = '(\w+)'", options)[1]
        yield Table(name, f"CREATE TABLE {name} ({body})", columns, key, time)


def views_of(text):
    for statement in statements_of(text):
        if match := re.match(r"CREATE VIEW (\w+) AS", statement):
            yield match[1], statement, stream_of(statement)


def stream_of(view):
    """The table behind FROM outside all brackets; of a subselect, the table that it reads."""
    depth = 0
    for token in re.finditer(r"[()]|\bFROM\b", view):
        depth += {"(": 1, ")": -1}.get(token[0], 0)
        if token[0] == "FROM" and depth == 0:
            return re.match(r"\s*(?:\(\s*SELECT .*? FROM\s+)?(\w+)", view[token.end():], re.S)[1]
    raise Unfit("the view reads no stream")


def is_number(ty):
    return ty in INTEGERS or ty.startswith(("DECIMAL", "NUMERIC", "DOUBLE"))


def parse_time(text):
    time = datetime.datetime.fromisoformat(text)
    if time.tzinfo is None:
        return time
    return time.astimezone(datetime.timezone.utc).replace(tzinfo=None)


def text_of(value, ty):
    """A value's text for a CAST; times without their zone, which they have left for UTC."""
    if value is None:
        return None
    if ty == "TIMESTAMP":
        return parse_time(value).isoformat(sep=" ", timespec="microseconds")
    if ty.startswith("DOUBLE") and Fraction(str(value)) == 0:
        return "0"  # minus zero enters as zero
    return str(value).lower() if isinstance(value, bool) else str(value)


def agrees(expected, got, magnitude):
    """Whether a database's value is the expected one: doubles nearly, all else exactly."""
    if expected is None or got is None or isinstance(expected, bool):
        return expected is got
    if isinstance(expected, list):
        pairs = zip(expected, got) if isinstance(got, list) else ()
        return isinstance(got, list) and len(expected) == len(got) and all(
            agrees(e, g, magnitude) for e, g in pairs
        )
    if isinstance(got, datetime.datetime):
        return parse_time(expected) == got
    if isinstance(got, datetime.date):
        return datetime.date.fromisoformat(expected) == got
    if isinstance(got, str):
        return expected == got
    if isinstance(got, bool):
        return False
    try:
        expected_exactly, got_exactly = Fraction(str(expected)), Fraction(got)
    except (ValueError, OverflowError):
        return False  # a text, an infinity or NaN
    if isinstance(expected, Text) or isinstance(got, float):
        slack = TOLERANCE * max(magnitude, abs(expected_exactly))
        return abs(expected_exactly - got_exactly) <= slack
    return expected_exactly == got_exactly


def judge_case(case, ask):
    """Compares every row of a case. `ask(case, view, contents, key)` gives the view's rows of that
    key as a list of dicts."""
    report = {"case": case.name, "requests": 0, "compared": 0, "unknown": 0, "failed": []}
    magnitude = case.magnitude()
    for index, (request, expected) in enumerate(zip(case.requests, case.expected)):
        if "row" not in request:
            continue  # a lookup appends no row, and a view has rows only
        view, row = request["view"], request["row"]
        stream = case.views[view][1]
        rows = ask(case, view, case.contents(stream, row), row[case.tables[stream].key])
        report["requests"] += 1
        features, statuses = expected["features"], expected["statuses"]
        if "NOT_IN_VIEW" in statuses.values():
            report["compared"] += 1
            if rows:
                report["failed"].append({"request": index, "expected": "no row", "got": str(rows)})
            continue
        if len(rows) != 1 or list(rows[0]) != list(features):
            failure = {"request": index, "expected": list(features), "got": str(rows)}
            report["failed"].append(failure)
            continue
        for column, value in features.items():
            if statuses.get(column) == "UNKNOWN":
                report["unknown"] += 1
                continue
            report["compared"] += 1
            got = rows[0][column]
            if not agrees(value, got, magnitude):
                failure = {"request": index, "column": column, "expected": value, "got": repr(got)}
                report["failed"].append(failure)
    if report["compared"] == 0:
        report["failed"].append({"error": "the judge is named but has nothing to compare"})
    return report


def judge_folder(judge, folder, ask):
    """Judges all cases that name this judge, prints one JSON line each, gives the exit code."""
    folders = sorted(path.parent for path in pathlib.Path(folder).glob("*/definition.sql"))
    judged = failed = compared = unknown = 0
    for path in folders:
        try:
            case = Case.read(path)
            if judge not in case.judges:
                continue
            report = judge_case(case, ask)
        except Exception as error:  # a case that breaks the judge has failed, the others go on
            what = f"{type(error).__name__}: {error}".splitlines()[0]
            report = {"case": path.name, "compared": 0, "unknown": 0, "failed": [{"error": what}]}
        judged += 1
        compared += report["compared"]
        unknown += report["unknown"]
        failed += bool(report["failed"])
        print(json.dumps(report, ensure_ascii=False))
    left = len(folders) - judged
    print(
        f"{judge}: {judged} cases judged, {left} not given to it, {compared} values compared, "
        f"{unknown} UNKNOWN not compared, {failed} cases failed",
        file=sys.stderr,
    )
    return 1 if failed or judged == 0 else 0
