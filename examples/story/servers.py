"""The servers of the story: a PostgreSQL, Redis, and Trueup's own, each on a free loopback port and
in a folder of its own, ended by their process ids and removed at the end of their `with` block.
"""

import contextlib
import glob
import http.client
import os
import pathlib
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

# Seconds that a server may take until it answers, and until it has ended: slow disks need a few.
START_S = 60
STOP_S = 30

# How often a server is looked at that starts, in seconds.
LOOK_S = 0.05

# Without those by which settings could come from elsewhere than the story's own file.
VARIABLES = {
    name: value for name, value in os.environ.items() if not name.startswith(("TRUEUP", "PG"))
}
# ONNX Runtime, as its makers build it, reports to them whoever loads it, and leaves an id of the
# machine in files, unless this is said before.
VARIABLES["ORT_DISABLE_TELEMETRY"] = "1"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def started(command, log, is_up, ends_by=signal.SIGTERM, **options):
    """A process that is up, for as long as the block takes; `is_up` says whether it is."""
    with open(log, "w") as out:
        # In a session of its own, or Ctrl-C would end it before its turn.
        options |= {"stdin": subprocess.DEVNULL, "env": VARIABLES, "start_new_session": True}
        process = subprocess.Popen(command, stdout=out, stderr=out, **options)
    try:
        end = time.monotonic() + START_S
        while not is_up():
            if process.poll() is not None or time.monotonic() > end:
                sys.exit(f"{command[0]} does not start; it said:\n{pathlib.Path(log).read_text()}")
            time.sleep(LOOK_S)
        yield process
    finally:
        process.send_signal(ends_by)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Postgres:
    """A PostgreSQL as it comes, but for what would make a short life long (`fsync`)."""

    def __init__(self, port):
        self.address = f"127.0.0.1:{port}"
        self.port = port

    def psql(self, sql, stdin=None, stdout=subprocess.PIPE):
        """What a statement prints, as text without any frame; to `stdout`, where it is a file."""
        command = [postgres_program("psql"), "-h", "127.0.0.1", "-p", str(self.port)]
        command += ["-U", "trueup", "-d", "postgres", "--no-psqlrc", "--quiet", "--tuples-only"]
        command += ["--no-align", "--set", "ON_ERROR_STOP=1", "--command", sql]
        done = subprocess.run(command, text=True, stdin=stdin, stdout=stdout, env=VARIABLES)
        if done.returncode != 0:
            sys.exit(f"psql failed at: {sql}")
        return done.stdout


@contextlib.contextmanager
def postgres():
    runs_as = servant()
    folder = tempfile.mkdtemp(prefix="trueup-story-postgres-")
    try:
        if runs_as:
            os.chown(folder, runs_as["user"], runs_as["group"])
        data, port = os.path.join(folder, "data"), free_port()
        init = [postgres_program("initdb"), "-D", data, "-U", "trueup", "-A", "trust", "--no-sync"]
        init += ["--encoding", "UTF8", "--locale", "C"]
        options = {"cwd": folder, **runs_as}
        made = subprocess.run(init, env=VARIABLES, capture_output=True, text=True, **options)
        if made.returncode != 0:
            sys.exit(f"initdb failed: {made.stderr}")
        command = [postgres_program("postgres"), "-D", data]
        settings = ["listen_addresses=127.0.0.1", f"port={port}", "unix_socket_directories="]
        for setting in [*settings, "fsync=off", "timezone=UTC"]:
            command += ["-c", setting]
        ready = [postgres_program("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]

        def is_up():
            return subprocess.run(ready, env=VARIABLES).returncode == 0

        log = os.path.join(folder, "log")
        # SIGINT is its fast way: connections are cut, files are closed.
        with started(command, log, is_up, signal.SIGINT, **options):
            yield Postgres(port)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def redis(folder):
    """A Redis that keeps nothing on disk; gives its address."""
    port = free_port()
    os.mkdir(folder)
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    command += ["--appendonly", "no", "--dir", folder]

    def is_up():
        with contextlib.suppress(OSError):
            with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(7) == b"+PONG\r\n"

    with started(command, os.path.join(folder, "log"), is_up, executable=redis_program()):
        yield f"127.0.0.1:{port}"


class Trueup:
    """The command, in the folder with the story's settings."""

    def __init__(self, program, folder):
        self.program = os.path.abspath(program)
        self.folder = folder

    def run(self, *arguments):
        """Runs it to its end, whichever that is; with what it printed."""
        command = [self.program, *arguments]
        return subprocess.run(
            command, cwd=self.folder, env=VARIABLES, capture_output=True, text=True
        )

    def must(self, *arguments):
        """What it printed, where it must succeed."""
        done = self.run(*arguments)
        if done.returncode != 0:
            sys.exit(f"trueup {' '.join(arguments)} failed:\n{done.stderr}{done.stdout}")
        return done.stdout

    @contextlib.contextmanager
    def server(self, *arguments):
        """A server that listens; gives its address and what it said till then."""
        log = pathlib.Path(self.folder, f"{'-'.join(arguments).replace('/', '-')}.log")
        listening = re.compile(r"^listening on http://(.*)\n", re.MULTILINE)

        def is_up():
            return listening.search(log.read_text())

        with started([self.program, *arguments], log, is_up, cwd=self.folder):
            said = log.read_text()
            yield listening.search(said)[1], said


def counter(address, name):
    """A counter of a server's metrics, such as `trueup_fallback_total{what="asked"}`."""
    with contextlib.closing(http.client.HTTPConnection(address)) as connection:
        connection.request("GET", "/metrics")
        lines = connection.getresponse().read().decode().splitlines()
    found = [line.rpartition(" ")[2] for line in lines if line.startswith(f"{name} ")]
    return int(found[0]) if found else 0


def postgres_program(name):
    """One of those beside `initdb`, which Debian keeps off the path, by versions."""
    versions = glob.glob("/usr/lib/postgresql/*/bin/initdb")
    versions.sort(key=lambda path: float(path.split("/")[4]))
    initdb = shutil.which("initdb") or (versions and versions[-1])
    if not initdb:
        sys.exit("initdb is missing: apt-get install postgresql")
    # A link on the path may be alone there.
    return os.path.join(os.path.dirname(os.path.realpath(initdb)), name)


def redis_program():
    """`redis-server`; Debian's redis-tools has the same program as a checker, without a service."""
    program = shutil.which("redis-server") or shutil.which("redis-check-rdb")
    return program or sys.exit("redis-server is missing: apt-get install redis-tools")


def servant():
    """Who runs PostgreSQL, which refuses to be run by root."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            user = pwd.getpwnam(name)
            return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    sys.exit("run as root, and neither the user postgres nor nobody exists")
