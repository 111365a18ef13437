-- alone
CREATE TABLE logins (id BIGINT PRIMARY KEY, t TIMESTAMP) WITH (event_time = 't');
CREATE TABLE logins (id BIGINT PRIMARY KEY, t TIMESTAMP) WITH (event_time = 't');
