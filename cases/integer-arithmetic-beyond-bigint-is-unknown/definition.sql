-- + - * and unary minus that pass the end of BIGINT have no value, on the way too; what stays
-- within is given, the ends included.
-- judges: none (both databases answer an error for the whole query)

CREATE TABLE transactions (
  transaction_id BIGINT PRIMARY KEY,
  event_time     TIMESTAMP NOT NULL,
  user_id        BIGINT,
  k              BIGINT
) WITH (event_time = 'event_time', lateness = '1 day');

CREATE VIEW v AS
SELECT
  transaction_id,
  k + 1 AS up,
  k - 1 AS down,
  k * 2 AS double,
  k * k AS square,
  -k AS negated,
  k + 1 - 1 AS back
FROM transactions;
