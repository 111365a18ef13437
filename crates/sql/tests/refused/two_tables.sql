CREATE VIEW v AS SELECT amount FROM transactions, logins;
