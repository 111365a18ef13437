CREATE VIEW v AS SELECT amount FROM transactions;
CREATE VIEW v AS SELECT fee FROM transactions;
