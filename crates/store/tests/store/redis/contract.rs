//! The contract, on every way to be connected and on every version.

use trueup_store::testing::contract;
use trueup_store::testing::servers::{
    Cluster, RedisServer, Sentinels, Setup, TestCa, programs, version,
};

use super::support::{fresh, open};

#[test]
fn a_single_server_keeps_every_rule_on_every_version() {
    for program in programs() {
        println!("Redis {}", version(&program));
        let server = RedisServer::start(Setup { program, ..Setup::default() });
        contract::check(|| open(&server.url(), fresh()));
    }
}

#[test]
fn a_server_behind_a_socket_and_another_database_keeps_every_rule() {
    let server = RedisServer::plain();
    let url = format!("unix:{}?db=3", server.folder().join("socket").display());
    contract::check(|| open(&url, fresh()));
    assert_eq!(server.text("INFO keyspace").matches("db").count(), 1, "only one database");
    assert!(server.text("INFO keyspace").contains("db3:"));
}

#[test]
fn a_user_with_only_the_documented_rights_keeps_every_rule() {
    let server = RedisServer::plain();
    server.command(
        "ACL SETUSER feature on >p@ss:word ~t* +@read +@write +@scripting +info +cluster +time",
    );
    let url = format!("redis://feature:p%40ss%3aword@127.0.0.1:{}", server.port());
    contract::check(|| open(&url, fresh()));
}

#[test]
fn a_server_with_tls_keeps_every_rule() {
    let ca = TestCa::new("IP:127.0.0.1", 2);
    let server =
        RedisServer::start(Setup { args: ca.server_args(), tls: true, ..Setup::default() });
    let url = format!("rediss://127.0.0.1:{}", server.tls_port());
    contract::check(|| {
        let mut options = fresh();
        options.ca_file = Some(ca.ca_file());
        open(&url, options)
    });
}

#[test]
fn a_primary_behind_sentinels_keeps_every_rule() {
    let servers = Sentinels::start(&Setup::default(), 1);
    contract::check(|| open(&servers.url(), fresh()));
}

#[test]
fn a_cluster_keeps_every_rule() {
    let cluster = Cluster::start(&Setup::default());
    contract::check(|| open(&cluster.url(), fresh()));
}
