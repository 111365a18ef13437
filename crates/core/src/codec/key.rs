//! Entity keys as bytes: injective, so that no two keys share a value whatever their texts hold.

use super::bytes::{Reader, put_i64, put_i128, put_text};
use crate::value::Value;

/// The values of a group's partition columns, each with its type and length before it.
///
/// ```text
/// key   part │ part │ …
/// part  0: NULL │ 1: Bool u8 │ 2: Int zigzag │ 3: Decimal zigzag │ 4: Float 8 bytes LE
///       5: Text length, bytes │ 6: Time zigzag │ 7: Date zigzag
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Vec<u8>);

impl Key {
    /// The key of these values, in the order of the group's partition columns.
    pub fn of<'a>(values: impl IntoIterator<Item = &'a Value>) -> Key {
        let mut out = Vec::with_capacity(12);
        for value in values {
            match value {
                Value::Null | Value::List(_) => out.push(0),
                Value::Bool(x) => out.extend_from_slice(&[1, u8::from(*x)]),
                Value::Int(x) => tagged(&mut out, 2, |out| put_i64(out, *x)),
                Value::Decimal(x) => tagged(&mut out, 3, |out| put_i128(out, *x)),
                Value::Float(x) => {
                    tagged(&mut out, 4, |out| out.extend_from_slice(&x.to_bits().to_le_bytes()));
                }
                Value::Text(x) => tagged(&mut out, 5, |out| put_text(out, x)),
                Value::Time(x) => tagged(&mut out, 6, |out| put_i64(out, *x)),
                Value::Date(x) => tagged(&mut out, 7, |out| put_i64(out, i64::from(*x))),
            }
        }
        Key(out)
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The values of a key's bytes, for a person to read; `None` if they are not those of a key.
    pub fn values(bytes: &[u8]) -> Option<Vec<Value>> {
        let (mut reader, mut values) = (Reader::new(bytes), Vec::new());
        while !reader.is_empty() {
            values.push(match reader.byte()? {
                0 => Value::Null,
                1 => Value::Bool(reader.byte()? != 0),
                2 => Value::Int(reader.i64()?),
                3 => Value::Decimal(reader.i128()?),
                4 => Value::Float(f64::from_bits(u64::from_le_bytes(reader.array()?))),
                5 => Value::Text(reader.text()?.into()),
                6 => Value::Time(reader.i64()?),
                7 => Value::Date(i32::try_from(reader.i64()?).ok()?),
                _ => return None,
            });
        }
        Some(values)
    }
}

fn tagged(out: &mut Vec<u8>, tag: u8, put: impl FnOnce(&mut Vec<u8>)) {
    out.push(tag);
    put(out);
}
