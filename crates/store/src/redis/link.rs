//! One connection: a *generation*. It never comes back by itself, so whoever holds one knows that
//! everything sent on it went to one life of one server.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ErrorKind, IntoConnectionInfo, Pipeline,
    RedisConnectionInfo, RedisError, TlsCertificates, Value, cmd,
};
use tokio::time::timeout;

use super::counts::Counts;
use super::greeting;
use super::options::RedisOptions;
use super::script::Script;
use super::url::{Place, Target};
use crate::StoreError;

/// Numbers of generations are never used twice in a process; 0 is none.
static GENERATIONS: AtomicU64 = AtomicU64::new(1);

/// How to reach a server and who to be there.
#[derive(Debug)]
pub(super) struct Dial {
    pub(super) target: Target,
    pub(super) options: RedisOptions,
    pub(super) counts: Counts,
}

/// An open connection to a server that was found fit.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) generation: u64,
    /// Its policy on a full memory may take keys away.
    pub(super) evicts: bool,
    place: Place,
    connection: MultiplexedConnection,
    retired: AtomicBool,
}

/// A failure of the connection or the server, not of one command.
pub(super) fn down(place: &Place, what: impl std::fmt::Display) -> StoreError {
    StoreError::Unavailable { detail: format!("{place}: {what}") }
}

impl Dial {
    fn client(&self, place: &Place, login: RedisConnectionInfo) -> Result<Client, StoreError> {
        let address = match place {
            Place::Unix(path) => ConnectionAddr::Unix(path.clone()),
            Place::Tcp { host, port } if self.target.tls => ConnectionAddr::TcpTls {
                host: host.clone(),
                port: *port,
                insecure: false,
                tls_params: None,
            },
            Place::Tcp { host, port } => ConnectionAddr::Tcp(host.clone(), *port),
        };
        let known = address.into_connection_info().map_err(|error| down(place, error))?;
        let known = known.set_redis_settings(login.set_skip_set_lib_name());
        if !self.target.tls {
            return Client::open(known).map_err(|error| down(place, error));
        }
        // Another crate of the process may have chosen its provider already; then that one serves.
        drop(rustls::crypto::ring::default_provider().install_default());
        let root_cert = self.ca()?;
        let certificates = TlsCertificates { client_tls: None, root_cert };
        Client::build_with_tls(known, certificates).map_err(|error| StoreError::Unfit {
            place: "The file of certificates".to_owned(),
            detail: error.to_string(),
            remedy: "Name a file of certificates in PEM.",
        })
    }

    fn ca(&self) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(path) = &self.options.ca_file else { return Ok(None) };
        let read = std::fs::read(path).map_err(|error| StoreError::Unfit {
            place: path.display().to_string(),
            detail: error.to_string(),
            remedy: "Name a file of certificates in PEM that may be read.",
        });
        read.map(Some)
    }

    fn login(&self) -> RedisConnectionInfo {
        let (target, options) = (&self.target, &self.options);
        let user = options.user.as_ref().or(target.user.as_ref());
        let password = options.password.as_ref().or(target.password.as_ref());
        login(user, password).set_db(target.db)
    }

    /// Connects to a server, with what it takes to be called fit.
    pub(super) async fn link(&self, place: &Place) -> Result<Link, StoreError> {
        let opened = timeout(self.options.connect_timeout, self.greet(place)).await;
        let link = opened.unwrap_or_else(|_| {
            self.counts.timeouts.add(1);
            Err(down(place, "no greeting in time"))
        })?;
        self.counts.connections.add(1);
        Ok(link)
    }

    async fn greet(&self, place: &Place) -> Result<Link, StoreError> {
        let mut connection = self.connect(place, self.login()).await?;
        let mut hello = Pipeline::with_capacity(2 + Script::ALL.len());
        hello.cmd("INFO").cmd("CLUSTER").arg("MYID");
        for script in Script::ALL {
            hello.cmd("SCRIPT").arg("LOAD").arg(script.text());
        }
        let replies = connection.send_packed_commands(&hello, 0, hello.len()).await;
        let replies = replies.map_err(|error| refused(place, &error))?;
        let evicts = greeting::check(&replies, place, &self.target.shape, &self.options)?;
        Ok(Link {
            generation: GENERATIONS.fetch_add(1, Ordering::Relaxed),
            evicts,
            place: place.clone(),
            connection,
            retired: AtomicBool::new(false),
        })
    }

    async fn connect(
        &self,
        place: &Place,
        login: RedisConnectionInfo,
    ) -> Result<MultiplexedConnection, StoreError> {
        let client = self.client(place, login)?;
        // Our own bounds are around every call.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.options.connect_timeout))
            .set_response_timeout(None);
        let connected = client.get_multiplexed_async_connection_with_config(&config).await;
        connected.map_err(|error| refused(place, &error))
    }

    /// Asks a sentinel for the address of the primary.
    pub(super) async fn ask_sentinel(&self, place: &Place, name: &str) -> Option<Place> {
        let login =
            login(self.options.sentinel_user.as_ref(), self.options.sentinel_password.as_ref());
        let asked = async {
            let mut connection = self.connect(place, login).await.ok()?;
            let mut question = cmd("SENTINEL");
            question.arg("GET-MASTER-ADDR-BY-NAME").arg(name);
            let answer = connection.send_packed_command(&question).await.ok()?;
            let (host, port): (String, String) = redis::from_redis_value(answer).ok()?;
            Some(Place::Tcp { host, port: port.parse().ok()? })
        };
        timeout(self.options.connect_timeout, asked).await.ok().flatten()
    }

    /// Asks a node of a cluster, replica or not, for `CLUSTER INFO` and `CLUSTER SLOTS`.
    pub(super) async fn ask_cluster(&self, place: &Place) -> Result<(Value, Value), StoreError> {
        let mut connection = self.connect(place, self.login()).await?;
        let mut questions = Pipeline::with_capacity(2);
        questions.cmd("CLUSTER").arg("INFO").cmd("CLUSTER").arg("SLOTS");
        let answers = connection.send_packed_commands(&questions, 0, 2).await;
        let answers: Result<[Value; 2], _> =
            answers.map_err(|error| refused(place, &error))?.try_into();
        let [info, slots] = answers.map_err(|_| down(place, "it does not answer in order"))?;
        Ok((info, slots))
    }
}

fn login(user: Option<&String>, password: Option<&String>) -> RedisConnectionInfo {
    let mut login = RedisConnectionInfo::default();
    if let Some(user) = user {
        login = login.set_username(user);
    }
    if let Some(password) = password {
        login = login.set_password(password);
    }
    login
}

/// Why there is no connection. A wrong password will not mend itself.
fn refused(place: &Place, error: &RedisError) -> StoreError {
    let code = error.code().unwrap_or_default();
    if error.kind() == ErrorKind::AuthenticationFailed || ["WRONGPASS", "NOAUTH"].contains(&code) {
        return greeting::locked(place);
    }
    down(place, error)
}

impl Link {
    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    pub(super) fn is_live(&self) -> bool {
        !self.retired.load(Ordering::Acquire)
    }

    /// Nothing more is to be sent here.
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
    }

    /// Sends commands in order and waits for all replies, which come in that order; a reply may be
    /// a server's error.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when a reply is missing; then the connection is done with, since
    /// nobody knows what became of the commands.
    pub(super) async fn send(
        &self,
        commands: &Pipeline,
        within: Duration,
        counts: &Counts,
    ) -> Result<Vec<Value>, StoreError> {
        let mut connection = self.connection.clone();
        let sent = connection.send_packed_commands(commands, 0, commands.len());
        let failed = match timeout(within, sent).await {
            Ok(Ok(replies)) if replies.len() == commands.len() => return Ok(replies),
            Ok(Ok(_)) => down(&self.place, "the number of replies is another than of commands"),
            Ok(Err(error)) => down(&self.place, error),
            Err(_) => {
                counts.timeouts.add(1);
                down(&self.place, format!("no answer within {within:?}"))
            }
        };
        self.retire();
        Err(failed)
    }
}
