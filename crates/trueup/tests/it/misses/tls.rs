//! Who may read along, and who may say that he is the database.

use super::scene::{PATIENT, SQL, TABLES, ask, fallback, missing, payment, sources, wide};
use crate::postgres_server::PostgresServer;
use crate::support::catalog;
use std::sync::Arc;
use trueup::serve::{Fallback, Tables};
use trueup_store::testing::servers::TestCa;

/// The password of the user who reads.
const SECRET: &str = "hush-hush";

/// A server that takes its reader's password only, and only encrypted where it encrypts.
async fn guarded(server: PostgresServer) -> PostgresServer {
    let client = server.connect().await;
    client.batch_execute(TABLES).await.unwrap();
    let role = format!(
        "CREATE ROLE reader LOGIN PASSWORD '{SECRET}';
         GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader"
    );
    client.batch_execute(&role).await.unwrap();
    let rules: String = client.query_one("SHOW hba_file", &[]).await.unwrap().get(0);
    let others = std::fs::read_to_string(&rules).unwrap();
    let rule = "host all reader 127.0.0.1/32 scram-sha-256";
    std::fs::write(&rules, format!("{rule}\n{others}")).unwrap();
    client.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    server
}

async fn encrypting(ca: &TestCa) -> PostgresServer {
    guarded(PostgresServer::start_encrypting(ca).await).await
}

/// What asks a server as its reader, by these parameters.
fn reader(server: &PostgresServer, parameters: &str) -> Arc<Fallback> {
    let port = server.port();
    let url = format!("postgres://reader:{SECRET}@127.0.0.1:{port}/postgres?{parameters}");
    fallback(url, wide())
}

/// Why its tables cannot be looked at.
async fn refusal(fallback: &Arc<Fallback>) -> Option<String> {
    let catalog = catalog(SQL);
    let looked = Tables::new(Arc::clone(fallback), &catalog).look(&catalog).await;
    looked.err().map(|error| error.to_string())
}

async fn check_refused(server: &PostgresServer, parameters: &str, parts: &[&str]) {
    let said = refusal(&reader(server, parameters)).await.expect(parameters);
    assert!(parts.iter().all(|part| said.contains(part)), "{parameters}: {said}");
    assert!(!said.contains(SECRET), "{said}");
}

fn trusting(ca: &TestCa) -> String {
    format!("sslrootcert={}", ca.ca_file().display())
}

/// The harm: somebody in the network between reads along, or passes the password on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_its_authority_vouches_for_is_asked_encrypted_by_a_bound_password() {
    let ca = TestCa::new("IP:127.0.0.1", 2);
    let server = encrypting(&ca).await;
    let parameters = format!("sslmode=verify-full&channel_binding=require&{}", trusting(&ca));
    let fallback = reader(&server, &parameters);
    assert_eq!(refusal(&fallback).await, None);
    let answered = ask(&missing(&fallback), "approved", &[payment(1)], PATIENT).await;
    assert_eq!(sources(&answered, 0), ["database"]);
    let count = "SELECT count(*) FILTER (WHERE ssl), count(*) FILTER (WHERE NOT ssl)
                 FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
                 WHERE application_name = 'trueup'";
    let row = server.connect().await.query_one(count, &[]).await.unwrap();
    let (encrypted, clear): (i64, i64) = (row.get(0), row.get(1));
    assert!(encrypted > 0 && clear == 0, "{encrypted} encrypted, {clear} in clear");
}

/// The harm: events and passwords go to somebody who only says that he is the database.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_cannot_prove_who_it_is_is_refused_with_the_remedy() {
    let (right, other) = (TestCa::new("IP:127.0.0.1", 2), TestCa::new("IP:127.0.0.1", 2));
    let server = encrypting(&right).await;
    let full = |ca: &TestCa| format!("sslmode=verify-full&{}", trusting(ca));
    let whose = other.ca_file().display().to_string();
    check_refused(&server, &full(&other), &[&whose, "sslrootcert=/PATH"]).await;
    check_refused(&server, &trusting(&other), &[&whose, "sslrootcert=/PATH"]).await;
    let required = format!("sslmode=require&{}", trusting(&other));
    check_refused(&server, &required, &[&whose, "sslrootcert=/PATH"]).await;
    let system = ["the system's certificates", "sslrootcert=/PATH"];
    check_refused(&server, "sslmode=verify-full", &system).await;
    let nowhere = "sslmode=verify-full&sslrootcert=/nowhere.crt";
    check_refused(&server, nowhere, &["/nowhere.crt", "PEM"]).await;
    assert_eq!(refusal(&reader(&server, "sslmode=require")).await, None);

    let elsewhere = TestCa::new("DNS:elsewhere.example", 2);
    let server = encrypting(&elsewhere).await;
    check_refused(&server, &full(&elsewhere), &["elsewhere.example", "sslmode=verify-ca"]).await;
    let any_name = format!("sslmode=verify-ca&{}", trusting(&elsewhere));
    assert_eq!(refusal(&reader(&server, &any_name)).await, None);

    let expired = TestCa::new("IP:127.0.0.1", -1);
    let server = encrypting(&expired).await;
    check_refused(&server, &full(&expired), &["does not answer", "Expired"]).await;

    let plain = guarded(PostgresServer::start().await).await;
    for mode in ["sslmode=require", "sslmode=verify-full"] {
        check_refused(&plain, mode, &["does not encrypt", "sslmode=disable"]).await;
    }
    assert_eq!(refusal(&reader(&plain, "sslmode=disable")).await, None);
    assert_eq!(refusal(&reader(&plain, "")).await, None, "nobody is between on this machine");
}

/// The harm: exchanging the authority's certificate needs a restart of every process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_of_authorities_are_read_anew_for_each_connection() {
    let (right, other) = (TestCa::new("IP:127.0.0.1", 2), TestCa::new("IP:127.0.0.1", 2));
    let server = encrypting(&right).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("trusted.crt");
    std::fs::copy(other.ca_file(), &file).unwrap();
    let fallback = reader(&server, &format!("sslrootcert={}", file.display()));
    assert!(refusal(&fallback).await.is_some());
    std::fs::copy(right.ca_file(), &file).unwrap();
    assert_eq!(refusal(&fallback).await, None);
}
