-- alone
CREATE TABLE s (
  id BIGINT PRIMARY KEY, t TIMESTAMP
) WITH (event_time = 't', epoch_unit = 'ms');
CREATE VIEW v AS SELECT id FROM s;
