//! Servers that will not do are refused when the store opens, with the remedy.

use trueup_store::testing::block_on;
use trueup_store::testing::servers::{RedisServer, Setup, TestCa, wait_until};
use trueup_store::{RedisOptions, Store, StoreError};

use super::support::{fresh, open, read, stands, try_open, write};

fn refusal(url: &str, options: RedisOptions) -> String {
    let error = try_open(url, options).expect_err("it will not do");
    assert!(error.to_string().ends_with(error.advice().remedy), "{error}");
    error.to_string()
}

/// The harm: evicted keys read as users without a history.
#[test]
fn a_server_that_evicts_is_refused_or_vouches_for_nothing() {
    let server = RedisServer::start(Setup::with(&["--maxmemory-policy", "allkeys-random"]));
    let refused = refusal(&server.url(), fresh());
    assert!(refused.contains("allkeys-random"), "{refused}");
    assert!(refused.contains("CONFIG SET maxmemory-policy noeviction"), "{refused}");
    let mut options = fresh();
    options.allow_eviction = true;
    let store = open(&server.url(), options);
    write(&store, &stands(&store), "a", "one", Some(1)).expect("it appends");
    assert_eq!(read(&store, "a").expect("it answers").meta.complete_since_us, None);
}

/// The harm: the policy is changed while running, and nobody notices.
#[test]
fn a_server_that_begins_to_evict_stops_vouching_within_seconds() {
    let server = RedisServer::plain();
    let store = open(&server.url(), fresh());
    write(&store, &stands(&store), "a", "one", Some(1)).expect("it appends");
    let vouches = || read(&store, "a").expect("it answers").meta.complete_since_us.is_some();
    assert!(vouches());
    server.command("CONFIG SET maxmemory-policy volatile-lru");
    wait_until("it stops vouching", || !vouches());
}

#[test]
fn a_replica_is_refused() {
    let primary = RedisServer::plain();
    let port = primary.port().to_string();
    let replica = RedisServer::start(Setup::with(&["--replicaof", "127.0.0.1", &port]));
    let refused = refusal(&replica.url(), fresh());
    assert!(refused.contains("replica"), "{refused}");
}

#[test]
fn a_url_of_another_shape_than_the_server_is_refused() {
    let single = RedisServer::plain();
    let clustered = RedisServer::start(Setup::with(&["--cluster-enabled", "yes"]));
    let refused = refusal(&clustered.url(), fresh());
    assert!(refused.contains("redis-cluster://"), "{refused}");
    let refused = refusal(&format!("redis-cluster://127.0.0.1:{}", single.port()), fresh());
    assert!(refused.contains("Write redis:// there."), "{refused}");
}

/// The harm: a password ends up in a log.
#[test]
fn a_wrong_login_is_refused_and_no_text_holds_a_password() {
    let server = RedisServer::start(Setup {
        args: vec!["--requirepass".to_owned(), "right".to_owned()],
        password: Some("right".to_owned()),
        ..Setup::default()
    });
    let at = format!("127.0.0.1:{}", server.port());
    for url in [format!("redis://{at}"), format!("redis://:canary@{at}")] {
        let refused = refusal(&url, fresh());
        assert!(refused.contains("Check user and password"), "{refused}");
        assert!(!refused.contains("canary"), "{refused}");
    }
    let mut options = fresh();
    options.password = Some("right".to_owned());
    let said = format!("{options:?}");
    let store = open(&format!("redis://:canary@{at}"), options);
    for text in [said, format!("{store:?}")] {
        assert!(!text.contains("right") && !text.contains("canary"), "{text}");
    }
}

#[test]
fn a_store_written_in_another_way_is_refused() {
    let server = RedisServer::plain();
    let options = fresh();
    let store = open(&server.url(), options.clone());
    write(&store, &stands(&store), "a", "one", Some(1)).expect("it appends");
    let name = format!("{}:{{b0}}:stand", options.prefix);
    let stand = server.text(&format!("GET {name}"));
    server.command(&format!("SET {name} {}", stand.replace("T0010064", "T0010128")));
    let refused = block_on(open(&server.url(), options).look(&[]));
    assert!(matches!(refused, Err(StoreError::Unfit { .. })), "{refused:?}");
    let bad = RedisOptions::default();
    for prefix in ["", "a{b}", "a b", "a*"] {
        let mut options = bad.clone();
        options.prefix = prefix.to_owned();
        assert!(refusal(&server.url(), options).starts_with("The prefix"));
    }
}

fn tls_server(ca: &TestCa) -> RedisServer {
    RedisServer::start(Setup { args: ca.server_args(), tls: true, ..Setup::default() })
}

/// The harm: state goes to somebody who only says that he is the server.
#[test]
fn certificates_that_do_not_vouch_for_the_server_are_refused() {
    let right = TestCa::new("IP:127.0.0.1", 2);
    let bad = [
        ("expired", TestCa::new("IP:127.0.0.1", -1)),
        ("of another host", TestCa::new("DNS:elsewhere.example", 2)),
    ];
    let trusting = |ca: &TestCa| {
        let mut options = fresh();
        options.ca_file = Some(ca.ca_file());
        options
    };
    for (what, ca) in &bad {
        let server = tls_server(ca);
        let url = format!("rediss://127.0.0.1:{}", server.tls_port());
        println!("{what}: {}", refusal(&url, trusting(ca)));
    }
    let server = tls_server(&right);
    let url = format!("rediss://127.0.0.1:{}", server.tls_port());
    println!("another authority: {}", refusal(&url, trusting(&bad[0].1)));
    println!("the system's authorities: {}", refusal(&url, fresh()));
    let plain = format!("redis://127.0.0.1:{}", server.tls_port());
    println!("without TLS: {}", refusal(&plain, fresh()));
    let wrong = format!("rediss://127.0.0.1:{}", server.port());
    println!("TLS to a plain port: {}", refusal(&wrong, trusting(&right)));
    open(&url, trusting(&right));
}

/// The harm: exchanging the authority's certificate needs a restart of every process.
#[test]
fn certificates_are_read_anew_for_each_connection() {
    let (old, new) = (TestCa::new("IP:127.0.0.1", 2), TestCa::new("IP:127.0.0.1", 2));
    let mut server = tls_server(&old);
    let file = old.folder().join("trusted.crt");
    std::fs::copy(old.ca_file(), &file).expect("it is copied");
    let mut options = fresh();
    options.ca_file = Some(file.clone());
    let store = open(&format!("rediss://127.0.0.1:{}", server.tls_port()), options);
    write(&store, &stands(&store), "a", "one", Some(1)).expect("it appends");
    for name in ["ca.crt", "server.crt", "server.key"] {
        std::fs::copy(new.folder().join(name), old.folder().join(name)).expect("it is copied");
    }
    server.restart();
    assert!(read(&store, "a").is_err(), "the new certificate is not trusted yet");
    std::fs::copy(new.ca_file(), &file).expect("it is copied");
    wait_until("it is trusted", || read(&store, "a").is_ok());
}
