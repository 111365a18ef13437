"""The transactions of the story, in both places: the table of PostgreSQL, and the file that the
store is filled from, which is an export of that table.
"""

import json
import os

# How many payments a user has, and over how many days: whole weeks, so that no hour of the week has
# more of them than another.
PER_USER = 250
DAYS = 28

# How long after the table's last payment the next ones are, in seconds.
NEXT_S = 1

# What an application keeps of a payment. Besides its primary key it has no index, as in the story.
TABLE = """
CREATE TABLE transactions (
  transaction_id bigint NOT NULL, event_time timestamptz NOT NULL, user_id bigint NOT NULL,
  card_id bigint NOT NULL, device_id bigint, merchant_id bigint NOT NULL, country text,
  amount numeric(12,2) NOT NULL, status text)"""

# The simulation's last event is moved to this moment, and all others as far: the windows that
# production is asked for end now.
FILL = """
INSERT INTO transactions
  SELECT transaction_id, event_time + (now() - (SELECT max(event_time) FROM simulated)),
         user_id, card_id, device_id, merchant_id, country, amount, status
  FROM simulated"""

# RFC 3339, as every file of events has its times.
EXPORT = """
COPY (SELECT transaction_id, to_char(event_time, 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS event_time,
             user_id, amount, status
      FROM transactions) TO STDOUT (FORMAT csv, HEADER)"""

# The next payments of those who paid last.
NEXT = """
SELECT json_build_object(
  'transaction_id', transaction_id + (SELECT max(transaction_id) FROM transactions),
  'event_time', to_char((SELECT max(event_time) FROM transactions) + interval '{next_s} s',
                        'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
  'user_id', user_id, 'amount', amount::text, 'status', 'approved')
FROM (SELECT * FROM transactions ORDER BY event_time DESC, transaction_id LIMIT {rows}) AS last"""


def simulate(trueup, count):
    """Writes simulated card transactions to a file, as many as are said."""
    path = os.path.join(trueup.folder, "simulated.csv")
    users = max(count // PER_USER, 1)
    arguments = ["--events", str(count), "--users", str(users), "--days", str(DAYS)]
    trueup.must("simulate", *arguments, "--out", path)
    return path


def load(database, path):
    """Fills the table from the file."""
    database.psql(TABLE)
    database.psql(TABLE.replace("TABLE transactions", "UNLOGGED TABLE simulated"))
    with open(path) as rows:
        database.psql("COPY simulated FROM STDIN (FORMAT csv, HEADER)", stdin=rows)
    database.psql(FILL)
    database.psql("DROP TABLE simulated")
    database.psql("ALTER TABLE transactions ADD PRIMARY KEY (transaction_id)")
    database.psql("VACUUM ANALYZE transactions")


def export(database, path):
    """Writes the table's rows to a file, as the stream's events."""
    with open(path, "w") as out:
        database.psql(EXPORT, stdout=out)


def next_payments(database, count):
    """Rows to be scored, which nobody has stored: the next payments of those who paid last."""
    printed = database.psql(NEXT.format(next_s=NEXT_S, rows=count))
    return [json.loads(line) for line in printed.splitlines()]
