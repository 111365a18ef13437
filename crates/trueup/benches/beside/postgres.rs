//! PostgreSQL that is asked by the aggregate query that a person would write.

use crate::closed::{self, Met};
use crate::data::statements;
use crate::postgres_server::PostgresServer;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio_postgres::{Client, Statement};

const QUERY: &str = "SELECT count(*), sum(amount)::text, avg(amount)::text, max(amount)::text
    FROM payments WHERE card = $1 AND at >= $2::timestamptz - interval '1 hour' AND at <= $2";

pub(crate) struct Postgres {
    server: PostgresServer,
    asked: SystemTime,
}

impl Postgres {
    pub(crate) async fn start(rows: u64, asked_us: i64) -> Postgres {
        let server = PostgresServer::start_with(&["shared_buffers=512MB"]).await;
        let client = server.connect().await;
        for statement in statements(rows, asked_us) {
            client.batch_execute(&statement).await.unwrap();
        }
        let asked = SystemTime::UNIX_EPOCH + Duration::from_micros(asked_us.unsigned_abs());
        Postgres { server, asked }
    }

    pub(crate) async fn index(&self) {
        let client = self.server.connect().await;
        let made = "CREATE INDEX ON payments (card, at) INCLUDE (amount); VACUUM ANALYZE payments";
        // Two statements in one text are one transaction, in which there is no VACUUM.
        for statement in made.split("; ") {
            client.batch_execute(statement).await.unwrap();
        }
    }

    /// Count and sum of a card, as text.
    pub(crate) async fn values(&self, card: u64) -> (i64, String) {
        let client = self.server.connect().await;
        let statement = client.prepare(QUERY).await.unwrap();
        let row = client.query_one(&statement, &[&card.cast_signed(), &self.asked]).await.unwrap();
        (row.get(0), row.get(1))
    }

    /// So many clients, each with a connection and the prepared query.
    pub(crate) async fn load(
        &self,
        callers: usize,
        phase: Duration,
        card: impl Fn(u64) -> u64 + Copy + Send + Sync + 'static,
    ) -> Met {
        let mut clients: Vec<(Client, Statement)> = Vec::new();
        for _ in 0..callers {
            let client = self.server.connect().await;
            let statement = client.prepare(QUERY).await.unwrap();
            clients.push((client, statement));
        }
        let (clients, asked) = (Arc::new(clients), self.asked);
        closed::run(callers, phase, move |caller, number| {
            let clients = Arc::clone(&clients);
            async move {
                let (client, statement) = &clients[caller];
                let card = card(number).cast_signed();
                let row = client.query_one(statement, &[&card, &asked]).await.unwrap();
                assert!(row.get::<_, i64>(0) > 0, "a card without payments");
                true
            }
        })
        .await
    }
}
