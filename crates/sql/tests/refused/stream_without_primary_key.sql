-- alone
CREATE TABLE s (
  id BIGINT, t TIMESTAMP
) WITH (event_time = 't');
CREATE VIEW v AS SELECT id FROM s;
