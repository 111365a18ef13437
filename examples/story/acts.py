"""The acts of the story, each on a server of its own, and what must hold at the end."""

import contextlib
import os
import pathlib
import re

from measure import CALLERS, measure, table, wait_until_fresh
from servers import counter
from tell import heading, say, work

# Rows that every environment is asked for: 1 % of them is two. Where an answer takes milliseconds,
# each row is asked for as often as ROUNDS says.
ROWS = 200
ROUNDS = 25

# What must hold of times, in milliseconds, with as many transactions as the story has.
OF_THE_STORY = 5_000_000
SLOW_MS = 100
RETRIEVAL_MS = 5
END_TO_END_MS = 50

# The environments' names in the table.
TESTS = "dev (tests)"
BEFORE = "production, before"
AFTER = "production, fixed"

ASKED = 'trueup_fallback_total{what="asked"}'
COMPARED = 'trueup_verify_total{what="compared"}'


class Story:
    def __init__(self, trueup, database, rows, transactions):
        self.trueup, self.database, self.rows = trueup, database, rows
        self.are_times_judged = transactions >= OF_THE_STORY
        # By environment.
        self.measured = {}
        # Each claim, and whether it holds; none where it is not judged.
        self.claims = []

    def tests(self, address):
        heading("1. In tests the features come from Redis")
        self.ask(TESTS, address, ROUNDS)

    def production(self):
        heading("2. In production nobody named a store")
        told = self.shell("serve", "--env", "production")
        refused = told.returncode != 0 and "does not start without an online store" in told.stderr
        self.claim("production does not start without a store", refused)
        say(
            "",
            "So it cannot happen in silence. It is forced here, with a store that nobody has",
            "filled; the server says at its start what that will cost.",
            "",
        )
        with self.server("serve", "--env", "production", "--store", "embedded:empty") as address:
            say(
                "The table has the index of its primary key and no other, as in the story, so",
                "each question for a user's last day reads all of it.",
                "",
            )
            before = self.ask(BEFORE, address, 1)
        slow = before.percentile("retrieval", 99) >= SLOW_MS
        self.claim("before, the database gave every value", set(before.sources) == {"database"})
        self.claim(f"before, p99 of retrieval is {SLOW_MS} ms or more", self.if_judged(slow))

    def diagnosis(self):
        """What doctor says of it; gives that."""
        heading("3. `trueup doctor` names it")
        told = self.shell("doctor", "--env", "dev", "--env", "production")
        named = "ERROR  no-online-store (production)" in told.stdout
        self.claim("doctor names it and ends with 1", told.returncode == 1 and named)
        say("", f"It ended with {told.returncode}.")
        return told.stdout

    def remedy(self, diagnosis):
        heading("4. What doctor says is done")
        settings = pathlib.Path(self.trueup.folder, "trueup.toml").read_text()
        say("trueup.toml:", "", indented(settings[settings.index("[env.fixed]") :]), "")
        for index in re.findall(r"do: (CREATE INDEX .*)", diagnosis):
            say(f"postgres=# {index};", "")
            self.database.psql(index)
        self.shell("backfill", "--env", "fixed", "--history", "transactions.csv")
        say("")
        with self.server("run", "--env", "fixed") as address:
            after = self.ask(AFTER, address, ROUNDS)
            say(f"{counter(address, COMPARED)} of these compared a sample of the store's answers.")
            heading("5. What doctor says now")
            told = self.shell("doctor", "--env", "dev", "--env", "fixed")
            say("", f"It ended with {told.returncode}.")
        retrieval = after.percentile("retrieval", 99) < RETRIEVAL_MS
        whole = after.percentile("end to end", 99) < END_TO_END_MS
        self.claim("after, the store gave every value", set(after.sources) == {"store"})
        self.claim(f"after, p99 of retrieval is below {RETRIEVAL_MS} ms", self.if_judged(retrieval))
        text = f"after, p99 from end to end, with the model, is below {END_TO_END_MS} ms"
        self.claim(text, self.if_judged(whole))
        self.claim("after, doctor finds no error and ends with 0", told.returncode == 0)

    def end(self, load):
        """Prints the table, with the machine's load before it all, and what holds; gives the exit
        code."""
        heading("Before and after, in milliseconds")
        say(
            table(self.measured),
            "",
            "Retrieval and inference are by the server's clock (timing_us of each reply), end to",
            f"end by that of the callers: {CALLERS}, each of which sends the next row when it has",
            "its answer, on the machine on which all the servers are.",
            f"It has {os.cpu_count()} cores, and had a load of {load:.1f} before anything began:",
            "other work adds to all times, to p99 most of all.",
        )
        doubtful = sum(of.doubtful for of in self.measured.values())
        self.claim("no value was STALE or UNKNOWN", doubtful == 0)
        tests, before, after = (self.measured[name].answers for name in (TESTS, BEFORE, AFTER))
        same = len(before) == len(self.rows) and tests == before == after
        of = f"features and scores of {len(self.rows)} payments"
        self.claim(f"{of} are the same in all three, bit for bit", same)
        heading("What must hold")
        words = {True: "holds", False: "FAILS", None: "not judged"}
        say(*(f"{words[holds]:12}{claim}" for claim, holds in self.claims))
        return 1 if any(holds is False for _, holds in self.claims) else 0

    def claim(self, text, holds):
        self.claims.append((text, holds))

    def if_judged(self, holds):
        return holds if self.are_times_judged else None

    def ask(self, name, address, rounds):
        """Measures an environment; prints an answer, and how often the database was asked."""
        wait_until_fresh(address, self.rows[0])
        asked = counter(address, ASKED)
        times = "once" if rounds == 1 else f"{rounds} times"
        with work(f"{len(self.rows)} payments to be scored, each {times}"):
            self.measured[name] = found = measure(address, self.rows, rounds)
        features, score = found.answers[self.rows[0]["transaction_id"]]
        retrieval, inference = (found.percentile(of, 50) for of in ("retrieval", "inference"))
        say(
            "",
            f"    user {self.rows[0]['user_id']}",
            *(f"      {column:34}{value:>10}" for column, value in features.items()),
            f"      {'score':34}{float(score):>10.4f}",
            "",
            f"    retrieval {retrieval:.2f} ms (p50), answered by the {', '.join(found.sources)}",
            f"    inference {inference:.2f} ms (p50)",
            "",
            f"Its metrics say that the database was asked {counter(address, ASKED) - asked} times.",
        )
        return found

    def shell(self, *arguments):
        """Runs the command as a person would, and prints what it printed."""
        say(f"$ trueup {' '.join(arguments)}")
        done = self.trueup.run(*arguments)
        say((done.stderr + done.stdout).rstrip())
        return done

    @contextlib.contextmanager
    def server(self, *arguments):
        """The same for a server; gives its address."""
        say(f"$ trueup {' '.join(arguments)}")
        with self.trueup.server(*arguments) as (address, said):
            say(said.rstrip(), "")
            yield address


def indented(text):
    return "\n".join(f"    {line}".rstrip() for line in text.strip().splitlines())
