CREATE VIEW v AS SELECT amount * 2 FROM transactions;
