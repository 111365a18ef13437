//! What a person runs, on real parts: a server on a free loopback port, the command itself.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod avro;
mod backfill;
mod bad;
mod bad_input;
mod bounds;
#[cfg(feature = "kafka")]
mod broker;
#[cfg(all(feature = "kafka", feature = "nats", feature = "postgres"))]
mod canary;
mod changing;
#[cfg(feature = "kafka")]
mod chaos;
mod child;
mod commands;
mod contract;
mod dashboards;
mod demo;
mod doctor;
#[cfg(feature = "kafka")]
mod failover;
mod feast;
mod from_database;
#[cfg(feature = "grpc")]
mod grpc;
mod hot;
mod ids;
mod kill;
#[cfg(all(feature = "mysql", feature = "postgres"))]
mod mariadb_server;
mod memory;
mod messages;
#[cfg(feature = "postgres")]
mod misses;
#[cfg(feature = "nats")]
mod nats_server;
mod objects;
mod openapi;
#[cfg(feature = "otel")]
mod otel;
mod outage;
mod overload;
mod packed;
mod parity;
mod pay;
#[cfg(feature = "kafka")]
mod pipeline;
#[cfg(all(feature = "kafka", feature = "nats"))]
mod pipeline_nats;
mod poison;
mod policies;
#[cfg(feature = "postgres")]
mod postgres_server;
mod race;
mod raw;
mod record;
mod release;
mod repeats;
#[cfg(feature = "s3")]
mod s3;
mod score;
mod serving;
mod sick;
mod source;
mod state;
mod status;
#[cfg(feature = "postgres")]
mod story;
mod support;
mod tour;
mod training;
#[cfg(feature = "kafka")]
mod watch;
