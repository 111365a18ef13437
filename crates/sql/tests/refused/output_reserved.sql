CREATE VIEW v AS SELECT event_time AS as_of FROM transactions;
