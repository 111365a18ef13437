-- A double that was computed as -0.0 equals 0.0, wherever two values are compared.
-- judges: duckdb, postgres

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  user_id        BIGINT,
  fee            DOUBLE PRECISION
) WITH (event_time = 'event_time', lateness = '1 day');

CREATE VIEW v AS
SELECT
  transaction_id,
  fee = -fee AS is_equal,
  fee > -fee AS is_greater,
  fee <> fee * -1 AS differs,
  nullif(CAST(user_id AS DOUBLE PRECISION) - 7, -fee) AS nothing,
  fee IN (-fee, 1) AS is_one_of,
  fee BETWEEN 0 * fee AND -fee AS is_between,
  CASE fee WHEN -fee THEN 1 ELSE 2 END AS which,
  count(*) FILTER (WHERE fee >= 0 AND -fee >= 0) OVER hour AS zeros
FROM transactions
WINDOW
  hour AS (PARTITION BY user_id ORDER BY event_time
    RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW);
