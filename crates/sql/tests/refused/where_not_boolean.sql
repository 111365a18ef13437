CREATE VIEW v AS SELECT amount FROM transactions WHERE amount;
