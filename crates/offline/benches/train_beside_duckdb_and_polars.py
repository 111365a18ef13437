"""`trueup train` beside DuckDB and Polars: the handbook's 12 windows, on 2 threads, to the same Parquet.

    cargo build --release
    python3 -m venv /tmp/beside && /tmp/beside/bin/pip install duckdb polars pyarrow
    /tmp/beside/bin/python crates/offline/benches/train_beside_duckdb_and_polars.py

The data is looked for beside the checkout, or where TRUEUP_HANDBOOK says. The three run in turn, each in
a process of its own, ROUNDS rounds in one call of this script, so that a busy machine is busy for all.
Printed are medians of wall time, of processor time and of the peak memory of the whole process, as the
kernel counts it. For DuckDB and Polars the times are those inside, without the start of Python and the
imports; ours is the whole process.

All three write the same columns in the same order of rows, with zstd at level 1, on 2 threads. What they
wrote is compared in the end: counts exactly, means within 1e-9.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
BESIDE = [ROOT.parent / "shared/data", ROOT.parent.parent / "shared/data"]
FOLDER = next((folder for folder in BESIDE if folder.exists()), BESIDE[0])
FOLDER = Path(os.environ.get("TRUEUP_HANDBOOK", FOLDER))
DATA = FOLDER.resolve() / "handbook-dev.parquet"
TRUEUP = Path(os.environ.get("TRUEUP", ROOT / "target/release/trueup"))
SQL = ROOT / "crates/offline/tests/it/handbook.sql"
OUT = Path(os.environ.get("TMPDIR", "/tmp")) / "trueup-beside"
ROUNDS = int(os.environ.get("ROUNDS", "7"))
THREADS = 2
DAYS = (1, 7, 30)
# Days until a label is known.
DELAY = 7
# DuckDB and Polars sum doubles in the order of the rows; ours is the exact sum, rounded once.
TOLERANCE = 1e-9


def customer(days):
    return f"customer_id_nb_tx_{days}day_window", f"customer_id_avg_amount_{days}day_window"


def terminal(days):
    return f"terminal_id_nb_tx_{days}day_window", f"terminal_id_risk_{days}day_window"


def run_duckdb(out):
    """The query as one writes it for DuckDB: named windows, which it evaluates once each."""
    import duckdb

    windows = []
    columns = [
        "transaction_id, event_time, customer_id, amount",
        "CASE WHEN extract(dow FROM event_time) IN (0, 6) THEN 1 ELSE 0 END AS tx_during_weekend",
        "CASE WHEN extract(hour FROM event_time) <= 6 THEN 1 ELSE 0 END AS tx_during_night",
    ]
    for days in DAYS:
        count, mean = customer(days)
        windows.append(
            f"c{days} AS (PARTITION BY customer_id ORDER BY event_time RANGE BETWEEN"
            f" INTERVAL '{days * 86400 - 0.000001:.6f} seconds' PRECEDING AND CURRENT ROW)"
        )
        columns += [f"count(*) OVER c{days} AS {count}", f"avg(amount) OVER c{days} AS {mean}"]
    for days in DAYS:
        count, risk = terminal(days)
        windows.append(
            f"t{days} AS (PARTITION BY terminal_id ORDER BY event_time RANGE BETWEEN"
            f" INTERVAL '{(days + DELAY) * 86400 - 0.000001:.6f} seconds' PRECEDING"
            f" AND INTERVAL '{DELAY} days' PRECEDING)"
        )
        columns += [
            f"count(*) OVER t{days} AS {count}",
            f"coalesce(avg(is_fraud) OVER t{days}, 0) AS {risk}",
        ]
    begun = time.perf_counter(), time.process_time()
    connection = duckdb.connect(config={"threads": THREADS})
    connection.execute(
        f"COPY (SELECT {', '.join(columns)} FROM read_parquet('{DATA}')"
        f" WINDOW {', '.join(windows)} ORDER BY transaction_id)"
        f" TO '{out}' (FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1)"
    )
    return begun


def run_polars(out):
    """The expressions as one writes them for Polars: rolling windows, (t - period, t] as they are there."""
    os.environ["POLARS_MAX_THREADS"] = str(THREADS)
    import polars as pl

    begun = time.perf_counter(), time.process_time()
    moment = pl.col("event_time")
    columns = ["transaction_id", "event_time", "customer_id", "amount"]
    columns += [
        (moment.dt.weekday() >= 6).cast(pl.Int64).alias("tx_during_weekend"),
        (moment.dt.hour() <= 6).cast(pl.Int64).alias("tx_during_night"),
    ]
    for days in DAYS:
        count, mean = customer(days)
        window = {"index_column": "event_time", "period": f"{days}d"}
        columns += [
            pl.len().rolling(**window).over("customer_id").cast(pl.Int64).alias(count),
            pl.col("amount").mean().rolling(**window).over("customer_id").alias(mean),
        ]
    for days in DAYS:
        count, risk = terminal(days)
        window = {"index_column": "event_time", "period": f"{days}d", "offset": f"-{days + DELAY}d"}
        columns += [
            pl.len().rolling(**window).over("terminal_id").cast(pl.Int64).alias(count),
            pl.col("is_fraud").mean().rolling(**window).over("terminal_id").fill_null(0.0).alias(risk),
        ]
    # The file is in the order of time; `set_sorted` spares Polars the look.
    frame = pl.scan_parquet(DATA).with_columns(moment.set_sorted()).select(columns)
    frame.collect().write_parquet(out, compression="zstd", compression_level=1)
    return begun


def child(which, out):
    begun_wall, begun_cpu = {"duckdb": run_duckdb, "polars": run_polars}[which](out)
    wall, cpu = time.perf_counter() - begun_wall, time.process_time() - begun_cpu
    print(json.dumps({"wall": wall, "cpu": cpu}))


def measure(which):
    """One run in a process of its own: seconds, processor seconds, MiB at the peak."""
    out = OUT / f"{which}.parquet"
    if which == "trueup":
        command = [
            TRUEUP, "train", "handbook", "--definitions", SQL, "--history", DATA, "--out", out,
        ]
    else:
        command = [sys.executable, __file__, which, out]
    begun = time.perf_counter()
    # A process that does nothing but wait for this one: so that the peak is this one's.
    waiter = (
        "import json, resource, subprocess, sys\n"
        "done = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.PIPE)\n"
        "use = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "sys.stderr.buffer.write(done.stderr) if done.returncode else None\n"
        "print(json.dumps({'out': done.stdout.decode(), 'code': done.returncode,"
        " 'cpu': use.ru_utime + use.ru_stime, 'peak': use.ru_maxrss}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", waiter, *map(str, command)], stdout=subprocess.PIPE, check=True
    )
    wall = time.perf_counter() - begun
    found = json.loads(done.stdout)
    if found["code"] != 0:
        sys.exit(f"{which} failed")
    times = {"wall": wall, "cpu": found["cpu"]} if which == "trueup" else json.loads(found["out"])
    return times["wall"], times["cpu"], found["peak"] / 1024


def compare():
    """Whether the three files say the same; the numbers of values compared."""
    import polars as pl

    ours = pl.read_parquet(OUT / "trueup.parquet")
    compared = 0
    for which in ("duckdb", "polars"):
        theirs = pl.read_parquet(OUT / f"{which}.parquet")
        assert ours.columns == theirs.columns, f"{which}: other columns"
        assert ours.height == theirs.height, f"{which}: other rows"
        for name in ours.columns:
            a, b = ours[name], theirs[name]
            assert a.null_count() == b.null_count() == 0, f"{which}: {name} has NULLs"
            if a.dtype == pl.Float64:
                wrong = ((a - b).abs() > TOLERANCE).sum()
            else:
                wrong = (a != b.cast(a.dtype)).sum()
            assert wrong == 0, f"{which}: {name} differs in {wrong} rows"
            compared += ours.height
    return compared


def main():
    if not DATA.exists():
        sys.exit(f"there is no {DATA}; set TRUEUP_HANDBOOK to the folder that holds it")
    if not TRUEUP.exists():
        sys.exit(f"there is no {TRUEUP}; run cargo build --release")
    OUT.mkdir(parents=True, exist_ok=True)
    which = ("trueup", "duckdb", "polars")
    runs = {name: [] for name in which}
    for name in which:
        measure(name)
    for number in range(ROUNDS):
        # Another one begins each time.
        for name in which[number % 3:] + which[:number % 3]:
            runs[name].append(measure(name))
    print(f"{ROUNDS} rounds, medians      wall s   cpu s   peak MiB   file MiB")
    median = {}
    for name in which:
        median[name] = [statistics.median(column) for column in zip(*runs[name])]
        wall, cpu, peak = median[name]
        size = (OUT / f"{name}.parquet").stat().st_size / 2**20
        print(f"{name:22} {wall:8.2f} {cpu:7.2f} {peak:10.0f} {size:10.1f}")
    for name in ("duckdb", "polars"):
        ratios = [theirs / ours for theirs, ours in zip(median[name], median["trueup"])]
        wall, cpu, peak = ratios
        print(f"{name} / trueup: wall {wall:.2f}, cpu {cpu:.2f}, peak memory {peak:.2f}")
    print(f"{compare()} values compared, all equal (doubles within {TOLERANCE})")


if __name__ == "__main__":
    if len(sys.argv) > 2:
        child(sys.argv[1], sys.argv[2])
    else:
        main()
