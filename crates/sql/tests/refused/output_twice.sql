CREATE VIEW v AS SELECT amount, fee AS amount FROM transactions;
