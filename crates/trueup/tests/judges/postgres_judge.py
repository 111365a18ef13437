"""PostgreSQL as the judge of golden cases: `postgres_judge.py CASES_FOLDER [CONNECTION_STRING]`.

Without a connection string it starts a server of its own, in a new folder, on a free loopback port
and with a random password, and takes both away at the end. Prints one JSON line per case on stdout
and a summary on stderr; exits with 1 if a value differs. Needs the Python package `psycopg` and,
for a server of its own, PostgreSQL's programs; run as root it starts them as an unprivileged user.
"""

import contextlib
import glob
import os
import pathlib
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import psycopg
from psycopg.rows import dict_row

from judging import judge_folder

# PostgreSQL wants an origin; definitions may leave it out and mean 1970, as DataFusion does.
DATE_BIN = """CREATE FUNCTION date_bin(interval, timestamp) RETURNS timestamp
    IMMUTABLE LANGUAGE sql AS $$ SELECT date_bin($1, $2, TIMESTAMP '1970-01-01') $$"""

# Seconds that a new server may take until it answers, and to stop: slow disks need a few.
START_S = 60
STOP_S = 30


def program(name):
    """The program of that name: where TRUEUP_TEST_POSTGRES says, else the newest installed one;
    Debian keeps the server's off the path."""
    if given := os.environ.get("TRUEUP_TEST_POSTGRES"):
        return os.path.join(given, name)
    found = sorted(
        glob.glob(f"/usr/lib/postgresql/*/bin/{name}"),
        key=lambda path: int(path.split("/")[4]) if path.split("/")[4].isdigit() else 0,
    )
    path = found[-1] if found else shutil.which(name)
    return path or sys.exit(f"{name} is missing: install PostgreSQL (apt-get install postgresql)")


def servant():
    """How to run the server: not as root, which it refuses."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            user = pwd.getpwnam(name)
            return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    sys.exit("run as root, and neither the user postgres nor nobody exists")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def own_server():
    """A server that lives as long as this block; gives its connection string."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="judge-postgres-"))
    server = None
    try:
        runs_as = servant()
        password = secrets.token_hex(16)
        (folder / "password").write_text(password)
        if runs_as:
            for path in (folder, folder / "password"):
                os.chown(path, runs_as["user"], runs_as["group"])
        data, port = folder / "data", free_port()
        init = [program("initdb"), "-D", data, "-U", "judge", "--pwfile", folder / "password"]
        # Texts are ordered by their bytes, as definitions order them.
        init += ["-A", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-sync"]
        done = subprocess.run(init, cwd=folder, capture_output=True, text=True, **runs_as)
        if done.returncode != 0:
            sys.exit(f"initdb failed: {done.stderr.strip()}")
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": port,
            "unix_socket_directories": "",
            "fsync": "off",  # nothing here outlives the judge
        }
        run = [program("postgres"), "-D", data]
        run += [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with open(folder / "log", "w") as log:
            server = subprocess.Popen(run, cwd=folder, stdout=log, stderr=log, **runs_as)
        where = f"host=127.0.0.1 port={port} user=judge password={password} dbname=postgres"
        wait_until_up(server, where, folder / "log")
        yield where
    finally:
        if server and server.poll() is None:
            server.send_signal(signal.SIGINT)  # "fast": connections are cut, files are closed
            try:
                server.wait(STOP_S)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
        shutil.rmtree(folder, ignore_errors=True)


def wait_until_up(server, where, log):
    end = time.monotonic() + START_S
    while True:
        try:
            psycopg.connect(where, connect_timeout=5).close()
            return
        except psycopg.OperationalError as error:
            if server.poll() is not None or time.monotonic() > end:
                sys.exit(f"PostgreSQL does not answer: {error}\n{log.read_text()}")
            time.sleep(0.1)


def asker(database):
    def ask(case, view, contents, key):
        # All in one transaction that is rolled back: no request can see another's row.
        with database.transaction(force_rollback=True), database.cursor() as cursor:
            cursor.execute("CREATE SCHEMA judged")
            cursor.execute("SET LOCAL search_path = judged, pg_catalog")
            cursor.execute("SET LOCAL TIME ZONE 'UTC'")
            cursor.execute(DATE_BIN)
            for table in case.tables.values():
                cursor.execute(table.create)
                if rows := table.literal_rows(contents[table.name]):
                    cursor.executemany(table.insert("%s::text"), rows)
            sql, stream = case.views[view]
            cursor.execute(sql)
            query = f"SELECT * FROM {view} WHERE {case.tables[stream].key}::text = %s::text"
            return cursor.execute(query, [str(key)]).fetchall()

    return ask


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: postgres_judge.py CASES_FOLDER [CONNECTION_STRING]")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server is stopped
    given = contextlib.nullcontext(sys.argv[2]) if len(sys.argv) == 3 else own_server()
    with given as where, psycopg.connect(where, row_factory=dict_row, autocommit=True) as database:
        sys.exit(judge_folder("postgres", sys.argv[1], asker(database)))


if __name__ == "__main__":
    main()
