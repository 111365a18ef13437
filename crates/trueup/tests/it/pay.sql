-- What the servers that are killed keep: exact windows, bins, and lifetimes.
CREATE TABLE payments (
  id       BIGINT PRIMARY KEY,
  at       TIMESTAMP NOT NULL,
  card     BIGINT,
  merchant BIGINT,
  amount   DECIMAL(12,2)
) WITH (event_time = 'at', lateness = '30 days');

CREATE VIEW risk AS
SELECT
  id,
  count(*) OVER hour                 AS n_hour,
  sum(amount) OVER hour              AS total_hour,
  count(DISTINCT merchant) OVER hour AS merchants_hour,
  stddev_samp(amount) OVER hour      AS spread_hour,
  lag(amount) OVER past              AS last_amount,
  count(*) OVER month                AS n_month,
  sum(amount) OVER month             AS total_month,
  count(*) OVER ever                 AS n_ever,
  sum(amount) OVER ever              AS total_ever,
  count(*) OVER busy                 AS n_merchant,
  sum(amount) OVER busy              AS total_merchant
FROM payments
WINDOW
  hour  AS (PARTITION BY card ORDER BY at
            RANGE BETWEEN INTERVAL '1 hour' PRECEDING AND CURRENT ROW),
  past  AS (PARTITION BY card ORDER BY at, id),
  month AS (PARTITION BY card ORDER BY at
            RANGE BETWEEN INTERVAL '30 days' PRECEDING AND CURRENT ROW),
  ever  AS (PARTITION BY card ORDER BY at
            RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW),
  busy  AS (PARTITION BY merchant ORDER BY date_bin(INTERVAL '1 minute', at)
            RANGE BETWEEN INTERVAL '30 days' PRECEDING AND CURRENT ROW);
