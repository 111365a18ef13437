CREATE VIEW v AS SELECT x.amount FROM transactions t;
