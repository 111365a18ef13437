-- array_agg over a ROWS frame lists the last values, oldest first, NULLs in their places.
-- judges: duckdb, postgres

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  user_id        BIGINT,
  merchant       VARCHAR,
  amount         DECIMAL(12,2)
) WITH (event_time = 'event_time', lateness = '1 day');

CREATE VIEW v AS
SELECT
  transaction_id,
  array_agg(merchant) OVER three AS merchants,
  array_agg(amount) OVER before AS amounts_before
FROM transactions
WINDOW
  three AS (PARTITION BY user_id ORDER BY event_time, transaction_id
    ROWS BETWEEN 2 PRECEDING AND CURRENT ROW),
  before AS (PARTITION BY user_id ORDER BY event_time, transaction_id
    ROWS BETWEEN 2 PRECEDING AND 1 PRECEDING);
