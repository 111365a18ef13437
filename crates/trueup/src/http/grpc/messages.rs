//! The messages of `proto/trueup/v1/trueup.proto`, which says what each member means. They are
//! written by hand (`docs/decisions/0018-grpc.md`), and a test sees every member of the proto on
//! the wire (`tests/it/grpc`).

use prost::{Enumeration, Message, Oneof};
use std::collections::BTreeMap;

#[derive(Clone, PartialEq, Message)]
pub(super) struct Value {
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4, 5")]
    pub(super) kind: Option<Kind>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum Kind {
    #[prost(bool, tag = "1")]
    Bool(bool),
    #[prost(int64, tag = "2")]
    Int64(i64),
    #[prost(double, tag = "3")]
    Double(f64),
    #[prost(string, tag = "4")]
    Text(String),
    #[prost(message, tag = "5")]
    List(ListValue),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ListValue {
    #[prost(message, repeated, tag = "1")]
    pub(super) values: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Row {
    #[prost(btree_map = "string, message", tag = "1")]
    pub(super) values: BTreeMap<String, Value>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct GetFeaturesRequest {
    #[prost(string, tag = "1")]
    pub(super) view: String,
    #[prost(message, repeated, tag = "2")]
    pub(super) rows: Vec<Row>,
    #[prost(message, repeated, tag = "3")]
    pub(super) keys: Vec<Row>,
    #[prost(string, optional, tag = "4")]
    pub(super) at: Option<String>,
    #[prost(string, repeated, tag = "5")]
    pub(super) columns: Vec<String>,
    #[prost(uint32, optional, tag = "6")]
    pub(super) deadline_ms: Option<u32>,
    #[prost(bool, tag = "7")]
    pub(super) record: bool,
    #[prost(enumeration = "Explain", tag = "8")]
    pub(super) explain: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enumeration)]
#[repr(i32)]
pub(super) enum Explain {
    Unspecified = 0,
    Whole = 1,
    Positions = 2,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct GetFeaturesResponse {
    #[prost(string, tag = "1")]
    pub(super) view: String,
    #[prost(string, tag = "2")]
    pub(super) digest: String,
    #[prost(message, repeated, tag = "3")]
    pub(super) rows: Vec<FeatureRow>,
    #[prost(btree_map = "string, uint64", tag = "4")]
    pub(super) timing_us: BTreeMap<String, u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enumeration)]
#[repr(i32)]
pub(super) enum Status {
    Unspecified = 0,
    Present = 1,
    NullValue = 2,
    NotFound = 3,
    Stale = 4,
    Unknown = 5,
    NotInView = 6,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enumeration)]
#[repr(i32)]
pub(super) enum Source {
    Unspecified = 0,
    Request = 1,
    Store = 2,
    Database = 3,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enumeration)]
#[repr(i32)]
pub(super) enum Recorded {
    Unspecified = 0,
    Log = 1,
    State = 2,
    No = 3,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct FeatureRow {
    #[prost(btree_map = "string, message", tag = "1")]
    pub(super) features: BTreeMap<String, Value>,
    #[prost(enumeration = "Status", tag = "2")]
    pub(super) status: i32,
    #[prost(btree_map = "string, enumeration(Status)", tag = "3")]
    pub(super) statuses: BTreeMap<String, i32>,
    #[prost(btree_map = "string, string", tag = "4")]
    pub(super) reasons: BTreeMap<String, String>,
    #[prost(string, repeated, tag = "5")]
    pub(super) defaulted: Vec<String>,
    #[prost(btree_map = "string, enumeration(Source)", tag = "6")]
    pub(super) sources: BTreeMap<String, i32>,
    #[prost(btree_map = "string, string", tag = "7")]
    pub(super) as_of: BTreeMap<String, String>,
    #[prost(string, optional, tag = "8")]
    pub(super) event_time: Option<String>,
    #[prost(enumeration = "Recorded", tag = "9")]
    pub(super) recorded: i32,
    #[prost(string, optional, tag = "10")]
    pub(super) refused: Option<String>,
    #[prost(string, optional, tag = "11")]
    pub(super) explain: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ScoreRequest {
    #[prost(string, tag = "1")]
    pub(super) model: String,
    #[prost(message, repeated, tag = "2")]
    pub(super) rows: Vec<Row>,
    #[prost(message, repeated, tag = "3")]
    pub(super) keys: Vec<Row>,
    #[prost(string, optional, tag = "4")]
    pub(super) at: Option<String>,
    #[prost(uint32, optional, tag = "5")]
    pub(super) deadline_ms: Option<u32>,
    #[prost(bool, tag = "6")]
    pub(super) record: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ScoreResponse {
    #[prost(string, tag = "1")]
    pub(super) model: String,
    #[prost(string, tag = "2")]
    pub(super) version: String,
    #[prost(string, tag = "3")]
    pub(super) view: String,
    #[prost(string, tag = "4")]
    pub(super) digest: String,
    #[prost(message, repeated, tag = "5")]
    pub(super) rows: Vec<ScoredRow>,
    #[prost(btree_map = "string, uint64", tag = "6")]
    pub(super) timing_us: BTreeMap<String, u64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ScoredRow {
    #[prost(double, optional, tag = "1")]
    pub(super) score: Option<f64>,
    #[prost(string, optional, tag = "2")]
    pub(super) score_reason: Option<String>,
    #[prost(message, optional, tag = "3")]
    pub(super) row: Option<FeatureRow>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PushEventsRequest {
    #[prost(string, tag = "1")]
    pub(super) stream: String,
    #[prost(message, repeated, tag = "2")]
    pub(super) events: Vec<Row>,
    #[prost(bool, tag = "3")]
    pub(super) wait_applied: bool,
    #[prost(uint32, optional, tag = "4")]
    pub(super) wait_ms: Option<u32>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PushEventsResponse {
    #[prost(uint64, tag = "1")]
    pub(super) accepted: u64,
    #[prost(message, repeated, tag = "2")]
    pub(super) dead_letters: Vec<DeadLetter>,
    #[prost(bool, optional, tag = "3")]
    pub(super) applied: Option<bool>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct DeadLetter {
    #[prost(uint64, tag = "1")]
    pub(super) index: u64,
    #[prost(string, optional, tag = "2")]
    pub(super) column: Option<String>,
    #[prost(string, tag = "3")]
    pub(super) reason: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ListViewsRequest {}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ListViewsResponse {
    #[prost(message, repeated, tag = "1")]
    pub(super) views: Vec<View>,
    #[prost(string, tag = "2")]
    pub(super) served: String,
    #[prost(string, optional, tag = "3")]
    pub(super) coming: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct View {
    #[prost(string, tag = "1")]
    pub(super) view: String,
    #[prost(string, tag = "2")]
    pub(super) digest: String,
    #[prost(string, tag = "3")]
    pub(super) stream: String,
    #[prost(string, repeated, tag = "4")]
    pub(super) keys: Vec<String>,
    #[prost(message, repeated, tag = "5")]
    pub(super) columns: Vec<Column>,
    #[prost(message, repeated, tag = "6")]
    pub(super) row: Vec<Column>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Column {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) ty: String,
    #[prost(bool, tag = "3")]
    pub(super) not_null: bool,
}
