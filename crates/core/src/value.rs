//! The values that events carry and features take, and their kinds.
//!
//! Six scalar kinds, no more: every SQL type that Trueup accepts is one of them (the `sql` crate
//! holds that table).

/// A point in time: microseconds since 1970-01-01T00:00:00Z. Every time in `core` is UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Micros(pub i64);

impl Micros {
    /// 0001-01-01T00:00:00Z, the earliest event time that is accepted.
    pub const EARLIEST: Micros = Micros(-62_135_596_800_000_000);
    /// 9999-12-31T23:59:59.999999Z, the latest event time that is accepted.
    pub const LATEST: Micros = Micros(253_402_300_799_999_999);

    /// This time moved back by `us` microseconds; stops at the ends of the type.
    pub fn back(self, us: i64) -> Micros {
        Micros(self.0.saturating_sub(us))
    }
}

/// The kind of a slot, a column or a feature.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// True or false.
    Bool,
    /// A 64-bit signed integer (SQL `SMALLINT`, `INTEGER`, `BIGINT`).
    Int,
    /// An exact decimal, kept as an integer of `10^-scale`.
    Decimal {
        /// Digits after the point, 0 to 38.
        scale: u8,
    },
    /// A finite 64-bit float (SQL `DOUBLE`); never NaN, never infinite, never -0.0.
    Float,
    /// UTF-8 text, ordered by its bytes.
    Text,
    /// Microseconds since 1970-01-01T00:00:00Z (SQL `TIMESTAMP`).
    Time,
    /// Days since 1970-01-01 (SQL `DATE`).
    Date,
    /// The result of `array_agg`: values of one scalar kind, NULLs allowed.
    List(Box<Kind>),
}

/// One value; the kind it belongs to is known from its place.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// SQL NULL, of any kind.
    Null,
    /// A [`Kind::Bool`].
    Bool(bool),
    /// A [`Kind::Int`].
    Int(i64),
    /// A [`Kind::Decimal`], in units of `10^-scale`.
    Decimal(i128),
    /// A [`Kind::Float`].
    Float(f64),
    /// A [`Kind::Text`].
    Text(Box<str>),
    /// A [`Kind::Time`], microseconds.
    Time(i64),
    /// A [`Kind::Date`], days.
    Date(i32),
    /// A [`Kind::List`].
    List(Vec<Value>),
}

/// An event's identity: the same id twice is the same event.
///
/// Integers stay as they are. Other types become a 128-bit hash, or stay whole where an aggregate
/// depends on the order of events, which is (event time, event id).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Id {
    /// An integer id.
    Int(i64),
    /// The first 16 bytes of the SHA-256 of a text id.
    Hash([u8; 16]),
    /// A text id kept whole, for order.
    Text(Box<str>),
}

/// How a group keeps ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IdKind {
    /// As integers.
    Int,
    /// As 128-bit hashes of the text.
    Hash,
    /// As text, whole.
    Text,
}

impl Id {
    /// The id of `text` as a group of this `kind` keeps it; `None` where the group keeps integers.
    pub fn of_text(kind: IdKind, text: &str) -> Option<Id> {
        use sha2::Digest;
        match kind {
            IdKind::Int => None,
            IdKind::Text => Some(Id::Text(text.into())),
            IdKind::Hash => {
                let digest = sha2::Sha256::digest(text.as_bytes());
                let mut first = [0; 16];
                first.copy_from_slice(&digest[..16]);
                Some(Id::Hash(first))
            }
        }
    }
}
