-- alone
CREATE TABLE s (
  id BIGINT PRIMARY KEY, event_tme TIMESTAMP
) WITH (event_time = 'event_time');
CREATE VIEW v AS SELECT id FROM s;
