-- alone
CREATE TABLE s (
  id BIGINT PRIMARY KEY, t TIMESTAMP(3)
) WITH (event_time = 't');
CREATE VIEW v AS SELECT id FROM s;
