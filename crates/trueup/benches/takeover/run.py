"""A history of millions of events into Redis, then workers on a log from where it ends: how fast, in how
much memory, and whether any event was lost or counts twice, by all keys beside DuckDB.

    target/python/bin/python crates/trueup/benches/takeover/run.py [EVENTS [AFTER]]

EVENTS are in the history (20,000,000 unless told), the last 10,000 of them in the log as well; AFTER
(200,000) come by the log alone, while the worker is killed once. Needs the package duckdb (./test puts it
into target/python), `redis-server` on the path, and target/release/trueup, or TRUEUP_BIN. Ends with 1 if
anything differs.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import duckdb

HERE = Path(__file__).resolve().parent
TRUEUP = os.environ.get("TRUEUP_BIN", str(HERE.parents[3] / "target/release/trueup"))
OVERLAP = 10_000
KEYS_A_CALL = 1_000
PATIENCE_S = 600


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def ended(what, code):
    if code != 0:
        sys.exit(f"{what} ended with {code}")


def trueup(folder, *arguments):
    ended(arguments[0], subprocess.run([TRUEUP, *arguments], cwd=folder).returncode)


def start(folder, *arguments):
    process = subprocess.Popen([TRUEUP, *arguments], cwd=folder, stderr=subprocess.PIPE, text=True)
    for line in process.stderr:
        if "listening on " in line:
            return process, line.split("listening on ")[1].strip()
    sys.exit(f"trueup {arguments[0]} does not listen")


def ask(url, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    headers = {"content-type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(url + path, data, headers), timeout=60) as reply:
        return json.load(reply)


def make(folder, events, after):
    trueup(folder, "simulate", "--events", str(events + after), "--users", str(max(events // 20, 10)),
           "--merchants", str(max(events // 400, 10)), "--days", "60", "--out", "all.parquet")
    parts = {"history": f"transaction_id <= {events}",
             "overlap": f"transaction_id > {events - OVERLAP} AND transaction_id <= {events}",
             "first": f"transaction_id > {events} AND transaction_id <= {events + after // 2}",
             "rest": f"transaction_id > {events + after // 2}"}
    for name, which in parts.items():
        duckdb.execute(f"COPY (SELECT * FROM '{folder}/all.parquet' WHERE {which}) "
                       f"TO '{folder}/{name}.parquet' (FORMAT parquet)")


def expected(folder, view, at):
    history = f"'{folder}/all.parquet'"
    if view == "users":
        return f"""SELECT user_id,
            count(*) FILTER (event_time >= TIMESTAMP '{at}' - INTERVAL 30 DAY),
            sum(amount) FILTER (event_time >= TIMESTAMP '{at}' - INTERVAL 30 DAY),
            count(*), sum(amount) FROM {history} GROUP BY user_id ORDER BY user_id"""
    # Whole bins only at the old end (docs/definitions.md).
    return f"""WITH binned AS (SELECT *, time_bucket(INTERVAL 10 MINUTE, event_time) AS bin FROM {history})
        SELECT merchant_id,
            count(*) FILTER (bin >= time_bucket(INTERVAL 10 MINUTE, TIMESTAMP '{at}') - INTERVAL 1 DAY),
            sum(amount) FILTER (bin >= time_bucket(INTERVAL 10 MINUTE, TIMESTAMP '{at}') - INTERVAL 1 DAY)
        FROM binned GROUP BY merchant_id ORDER BY merchant_id"""


def compare(folder, url, view, key, columns, at):
    rows = duckdb.execute(expected(folder, view, at)).fetchall()
    lost = doubled = differ = 0
    for first in range(0, len(rows), KEYS_A_CALL):
        part = rows[first:first + KEYS_A_CALL]
        asked = {"keys": [{key: row[0]} for row in part], "at": at.replace(" ", "T") + "Z",
                 "deadline_ms": 10_000}
        for row, told in zip(part, ask(url, f"/v1/features/{view}", asked)["rows"]):
            marked = [told.get("statuses", {}).get(column) for column in columns]
            if any(mark in ("UNKNOWN", "STALE") for mark in marked):
                sys.exit(f"{view} {row[0]}: {told}")
            got = [told["features"][column] for column in columns]
            want = [str(value) if value is not None and n % 2 else value for n, value in enumerate(row[1:])]
            differ += got != want
            short = sum(w - g for g, w in zip(got[::2], want[::2]))
            lost += max(short, 0)
            doubled += max(-short, 0)
    print(f"{view}: {len(rows)} keys, {differ} differ, lost {lost}, doubled {doubled}", flush=True)
    return differ == 0 and lost == 0 and doubled == 0


def main():
    events = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000_000
    after = int(sys.argv[2]) if len(sys.argv) > 2 else 200_000
    folder = tempfile.mkdtemp(prefix="takeover-")
    ports, servers = [free_port(), free_port()], []
    try:
        for port in ports:
            servers.append(subprocess.Popen(["redis-server", "--port", str(port), "--save", "", "--appendonly",
                                             "no"], stdout=subprocess.DEVNULL))
        make(folder, events, after)
        (Path(folder) / "takeover.sql").write_text((HERE / "takeover.sql").read_text())
        (Path(folder) / "trueup.toml").write_text(
            f"definitions = 'takeover.sql'\nstore = 'redis://127.0.0.1:{ports[0]}'\n"
            f"source = 'redis-stream://127.0.0.1:{ports[1]}/log?partitions=3'\nlisten = '127.0.0.1:0'\n")
        process, url = start(folder, "serve")
        servers.append(process)
        trueup(folder, "push", "overlap.parquet", "--stream", "transactions", "--url", url)
        process.terminate()
        ended("serve", process.wait())
        began = time.monotonic()
        trueup(folder, "backfill", "--history", "history.parquet", "--up-to", "end")
        took = time.monotonic() - began
        print(f"backfill of {events} rows: {took:.0f} s, {events / took:.0f} rows/s", flush=True)
        process, url = start(folder, "run")
        servers.append(process)
        trueup(folder, "push", "first.parquet", "--stream", "transactions", "--url", url)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process, url = start(folder, "run")
        servers.append(process)
        trueup(folder, "push", "rest.parquet", "--stream", "transactions", "--url", url, "--wait")
        newest = duckdb.execute(f"SELECT max(event_time)::VARCHAR FROM '{folder}/all.parquet'").fetchone()[0]
        right = compare(folder, url, "users", "user_id", ["n_month", "amount_month", "n_ever", "amount_ever"],
                        newest)
        right &= compare(folder, url, "merchants", "merchant_id", ["n_day", "amount_day"], newest)
        sys.exit(0 if right else 1)
    finally:
        for server in servers:
            server.kill()
            server.wait()
        subprocess.run(["rm", "-r", folder])


main()
