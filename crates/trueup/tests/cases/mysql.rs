//! The same from a MariaDB: tables whose columns have types, which values must come through.

use crate::case::Case;
use crate::database::{ask_database, taken};
use crate::mariadb_server::{MariadbServer, opts};
use crate::report::each_case;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Value as Sql};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use trueup::database::DatabasePlace;
use trueup_core::Value;
use trueup_sql::ColumnType;
use trueup_sql::decode::print::{Date, Decimal, Timestamp};

#[test]
fn every_case_is_answered_alike_from_a_mariadb_when_the_store_is_empty() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime.block_on(MariadbServer::start());
    let made = AtomicU32::new(0);
    each_case(|case, found| {
        let name = format!("bank_{}", made.fetch_add(1, Relaxed));
        runtime.block_on(server.run(&format!("CREATE DATABASE {name}")));
        let url = server.url_of(&name);
        runtime.block_on(fill(case, &url));
        let place = DatabasePlace::MySql { url, password: None };
        ask_database(case, &place, None, found);
    });
}

/// A table for each stream, with the events that the stream takes.
async fn fill(case: &Case, url: &str) {
    let mut connection = Conn::new(opts(url)).await.unwrap();
    for part in case.catalog.streams() {
        let columns = part.stream.columns.iter();
        let columns: Vec<_> =
            columns.map(|column| format!("`{}` {}", column.name, type_of(column.ty))).collect();
        let create = format!("CREATE TABLE `{}` ({})", part.stream.name, columns.join(", "));
        connection.query_drop(create).await.unwrap();
    }
    for (number, values) in taken(case) {
        let stream = &case.catalog.streams()[number].stream;
        let values =
            values.iter().zip(&stream.columns).map(|(value, column)| sql(value, column.ty));
        let places = vec!["?"; stream.columns.len()].join(", ");
        let insert = format!("INSERT INTO `{}` VALUES ({places})", stream.name);
        connection.exec_drop(insert, values.collect::<Vec<_>>()).await.unwrap();
    }
}

/// The type that an application would have chosen.
fn type_of(ty: ColumnType) -> String {
    match ty {
        ColumnType::Boolean => "BOOLEAN".into(),
        ColumnType::SmallInt => "SMALLINT".into(),
        ColumnType::Integer => "INTEGER".into(),
        ColumnType::BigInt => "BIGINT".into(),
        ColumnType::Decimal { precision, scale } => format!("DECIMAL({precision}, {scale})"),
        ColumnType::Double => "DOUBLE".into(),
        ColumnType::Varchar => "VARCHAR(200) CHARACTER SET utf8mb4".into(),
        ColumnType::Timestamp => "DATETIME(6)".into(),
        ColumnType::Date => "DATE".into(),
    }
}

fn sql(value: &Value, ty: ColumnType) -> Sql {
    match (value, ty) {
        (Value::Bool(value), _) => Sql::Int(i64::from(*value)),
        (Value::Int(value), _) => Sql::Int(*value),
        (Value::Float(value), _) => Sql::Double(*value),
        (Value::Text(text), _) => Sql::from(text.to_string()),
        (Value::Time(us), _) => {
            Sql::from(Timestamp(*us).to_string().trim_end_matches('Z').replace('T', " "))
        }
        (Value::Date(days), _) => Sql::from(Date(*days).to_string()),
        (Value::Decimal(value), ColumnType::Decimal { scale, .. }) => {
            Sql::from(Decimal { value: *value, scale }.to_string())
        }
        _ => Sql::NULL,
    }
}
