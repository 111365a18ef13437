-- alone
CREATE TABLE s (
  id BIGINT PRIMARY KEY, t TIMESTAMP, x BIGINT[]
) WITH (event_time = 't');
CREATE VIEW v AS SELECT id FROM s;
