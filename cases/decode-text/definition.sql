-- Text is kept as it is: quotes, backslashes, line breaks, emoji and blanks at the ends.
-- judges: duckdb, postgres

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  user_id        BIGINT,
  note           VARCHAR
) WITH (event_time = 'event_time', lateness = '1 day');

CREATE VIEW v AS
SELECT
  transaction_id,
  note,
  lag(note) OVER past AS last_note
FROM transactions
WINDOW
  past AS (PARTITION BY user_id ORDER BY event_time, transaction_id);
