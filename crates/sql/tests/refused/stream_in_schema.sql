-- alone
CREATE TABLE public.s (id BIGINT PRIMARY KEY, t TIMESTAMP) WITH (event_time = 't');
