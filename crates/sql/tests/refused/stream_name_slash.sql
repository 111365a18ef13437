-- alone
CREATE TABLE "a/b" (id BIGINT PRIMARY KEY, t TIMESTAMP) WITH (event_time = 't');
