CREATE VIEW v AS SELECT DISTINCT user_id FROM transactions;
