//! What is measured beside our answers in the same run: a Feast server, and the floor.

use crate::cli::Failure;
use crate::client::{Client, ClientOptions};
use crate::load::Load;
use bytes::Bytes;
use hyper::Method;
use serde_json::json;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A Feast feature server to measure too, with the keys of the same rows
    #[arg(long, value_name = "URL", requires_all = ["feast_features", "feast_entity"])]
    feast: Option<String>,
    /// What it is asked for, such as card_stats:payments_last_hour
    #[arg(long, value_name = "VIEW:FEATURE", value_delimiter = ',')]
    feast_features: Vec<String>,
    /// The columns of the rows that are its entities' join keys
    #[arg(long, value_name = "COLUMN", value_delimiter = ',')]
    feast_entity: Vec<String>,
    /// Measure the floor too: the same server's HTTP without any work, by GET /livez
    #[arg(long)]
    floor: bool,
}

impl Args {
    /// What else is to be measured, each with its name.
    pub(super) fn loads(
        &self,
        client: Client,
        connections: usize,
        rows: &[Bytes],
    ) -> Result<Vec<(&'static str, Load)>, Failure> {
        let mut loads = Vec::new();
        if let Some(url) = &self.feast {
            let options = ClientOptions {
                base_url: url.clone(),
                token: None,
                connections,
                timeout: super::TIMEOUT,
                traceparent: None,
            };
            let client =
                Client::new(&options).map_err(|error| format!("error: --feast: {error}"))?;
            let (path, bodies) = ("/get-online-features".to_owned(), self.questions(rows)?);
            loads.push(("feast", load(client, Method::POST, path, bodies)));
        }
        if self.floor {
            let nothing = vec![Bytes::new()];
            loads.push(("floor", load(client, Method::GET, "/livez".to_owned(), nothing)));
        }
        Ok(loads)
    }

    /// For each row what Feast is asked.
    fn questions(&self, rows: &[Bytes]) -> Result<Vec<Bytes>, Failure> {
        let mut bodies = Vec::with_capacity(rows.len());
        for row in rows {
            let members: BTreeMap<String, &RawValue> = serde_json::from_slice(row)?;
            let mut entities = BTreeMap::new();
            for column in &self.feast_entity {
                let value = members.get(column).ok_or_else(|| {
                    format!("error: --feast-entity: the rows have no column {column}")
                })?;
                entities.insert(column, [value]);
            }
            let question = json!({ "features": self.feast_features, "entities": entities });
            bodies.push(question.to_string().into());
        }
        Ok(bodies)
    }
}

/// These bodies in turn.
pub(super) fn load(client: Client, method: Method, path: String, bodies: Vec<Bytes>) -> Load {
    Load {
        client,
        method,
        path,
        content_type: Some("application/json".into()),
        body: Arc::new(move |number| bodies[number as usize % bodies.len()].clone()),
        judge: Arc::new(|_, _| true),
    }
}
