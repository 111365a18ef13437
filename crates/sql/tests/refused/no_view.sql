-- alone
CREATE TABLE s (id BIGINT PRIMARY KEY, t TIMESTAMP) WITH (event_time = 't');
