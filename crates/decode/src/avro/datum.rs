//! One datum in Avro's binary encoding, read from the front.
//!
//! Nothing is allocated by what a length or a count claims: text and bytes are borrowed from the
//! record, and what columns never take is passed over. What ends a recursion or a loop is not the
//! data alone: a schema that holds itself, and items of no bytes, have bounds of their own.

use super::schema::Node;
use crate::MAX_ROW_BYTES;
use crate::cell::Cell;
use crate::fault::Fault;

/// Levels of records, arrays, maps and unions in one another: each takes a frame of the stack, and
/// only a schema that holds itself comes near.
const MAX_DEPTH: usize = 64;

/// Values of one record: as many as it may have bytes, so that only values of no bytes, of which
/// ten bytes can claim 2^63, ever reach it.
const MAX_VALUES: usize = MAX_ROW_BYTES;

/// Bytes of a varint of 64 bits.
const MAX_VARINT_BYTES: usize = 10;

const ENDS: &str = "the record ends inside it";

/// A value of a field.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Found<'a> {
    Cell(Cell<'a>),
    /// Text that does not stand in the record as it is.
    Text(String),
    /// A whole value, but none that a column takes: what it is.
    Refused(Fault, &'static str),
}

/// What is left of a datum.
pub(super) struct Datum<'a> {
    nodes: &'a [Node],
    bytes: &'a [u8],
    values: usize,
}

impl<'a> Datum<'a> {
    pub(super) fn new(nodes: &'a [Node], bytes: &'a [u8]) -> Datum<'a> {
        Datum { nodes, bytes, values: 0 }
    }

    /// Bytes that are left.
    pub(super) fn rest(&self) -> usize {
        self.bytes.len()
    }

    /// The next value, which is of the type at `node`.
    ///
    /// # Errors
    /// There is none, in words that follow the field's name.
    pub(super) fn value(&mut self, node: usize) -> Result<Found<'a>, &'static str> {
        self.at(node, 0)
    }

    fn at(&mut self, node: usize, depth: usize) -> Result<Found<'a>, &'static str> {
        if depth > MAX_DEPTH {
            return Err("it is nested deeper than a record may be");
        }
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err("it holds more values than a record may have bytes");
        }
        let node = &self.nodes[node];
        let cell = match node {
            Node::Null => Cell::Null,
            Node::Boolean => match self.take(1)? {
                [0] => Cell::Bool(false),
                [1] => Cell::Bool(true),
                _ => return Err("a boolean is neither 0 nor 1"),
            },
            Node::Int => Cell::Int(self.int()?.into()),
            Node::Long => Cell::Int(self.long()?),
            Node::Float => Cell::Double(f32::from_le_bytes(self.array()?).into()),
            Node::Double => Cell::Double(f64::from_le_bytes(self.array()?)),
            Node::Date => Cell::Date(self.int()?),
            Node::Instant(unit) => Cell::Instant { value: self.long()?, unit: *unit },
            Node::String => {
                let text = self.block()?;
                return Ok(match std::str::from_utf8(text) {
                    Ok(text) => Found::Cell(Cell::Text(text)),
                    Err(_) => Found::Refused(Fault::Text, "text that is not UTF-8"),
                });
            }
            Node::Enum(symbols) => match symbols.get(self.index()?) {
                Some(symbol) => Cell::Text(symbol),
                None => return Err("an enum has no symbol of that number"),
            },
            Node::Decimal { scale, size } => {
                let bytes = match size {
                    Some(size) => self.take(*size)?,
                    None => self.block()?,
                };
                return Ok(decimal(bytes, *scale));
            }
            Node::Uuid => return Ok(Found::Text(uuid(self.array()?))),
            Node::Union(branches) => match branches.get(self.index()?) {
                Some(branch) => return self.at(*branch, depth + 1),
                None => return Err("a union has no branch of that number"),
            },
            Node::TimeMillis => {
                self.int()?;
                return Ok(refused(node));
            }
            Node::TimeMicros => {
                self.long()?;
                return Ok(refused(node));
            }
            Node::Bytes => {
                self.block()?;
                return Ok(refused(node));
            }
            Node::Fixed(size) => {
                self.take(*size)?;
                return Ok(refused(node));
            }
            Node::Array(_) | Node::Map(_) | Node::Record(_) => {
                self.pass(node, depth)?;
                return Ok(refused(node));
            }
        };
        Ok(Found::Cell(cell))
    }

    /// Passes over what is made of other values.
    fn pass(&mut self, node: &Node, depth: usize) -> Result<(), &'static str> {
        match node {
            Node::Array(item) => self.items(|datum| datum.at(*item, depth + 1).map(drop)),
            Node::Map(item) => self.items(|datum| {
                datum.block()?;
                datum.at(*item, depth + 1).map(drop)
            }),
            Node::Record(fields) => {
                fields.iter().try_for_each(|field| self.at(field.node, depth + 1).map(drop))
            }
            _ => Ok(()),
        }
    }

    /// Blocks of items, each block with their count, or with minus the count and its bytes.
    fn items(
        &mut self,
        mut item: impl FnMut(&mut Datum<'a>) -> Result<(), &'static str>,
    ) -> Result<(), &'static str> {
        loop {
            match self.long()? {
                0 => return Ok(()),
                ..0 => drop(self.block()?),
                count @ 1.. => (0..count).try_for_each(|_| item(self))?,
            }
        }
    }

    /// Bytes behind their length.
    fn block(&mut self) -> Result<&'a [u8], &'static str> {
        let length = usize::try_from(self.long()?).map_err(|_| "a length is negative")?;
        self.take(length)
    }

    fn index(&mut self) -> Result<usize, &'static str> {
        usize::try_from(self.int()?).map_err(|_| "a number of a branch or a symbol is negative")
    }

    fn int(&mut self) -> Result<i32, &'static str> {
        i32::try_from(self.long()?).map_err(|_| "an int has more than 32 bits")
    }

    /// A varint, its sign in the lowest bit.
    fn long(&mut self) -> Result<i64, &'static str> {
        const LONG: &str = "a number has more than 64 bits";
        let mut value = 0u64;
        for (nth, &byte) in self.bytes.iter().take(MAX_VARINT_BYTES).enumerate() {
            if nth + 1 == MAX_VARINT_BYTES && byte > 1 {
                return Err(LONG);
            }
            value |= u64::from(byte & 0x7F) << (7 * nth);
            if byte & 0x80 == 0 {
                self.bytes = &self.bytes[nth + 1..];
                return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        Err(ENDS)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], &'static str> {
        let (array, rest) = self.bytes.split_first_chunk().ok_or(ENDS)?;
        self.bytes = rest;
        Ok(*array)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], &'static str> {
        let (taken, rest) = self.bytes.split_at_checked(count).ok_or(ENDS)?;
        self.bytes = rest;
        Ok(taken)
    }
}

fn refused<'a>(node: &Node) -> Found<'a> {
    Found::Refused(Fault::Type, node.refused().unwrap_or("that"))
}

/// A number in two's complement, big-endian, in units of `10^-scale`.
fn decimal<'a>(bytes: &[u8], scale: i8) -> Found<'a> {
    const WIDTH: usize = size_of::<i128>();
    let Some(&first) = bytes.first() else {
        return Found::Refused(Fault::Range, "a decimal of no bytes");
    };
    let sign = if first & 0x80 == 0 { 0 } else { 0xFF };
    let (beyond, low) = bytes.split_at(bytes.len().saturating_sub(WIDTH));
    let is_sign = beyond.iter().all(|byte| *byte == sign);
    if !is_sign || (!beyond.is_empty() && (low[0] ^ sign) & 0x80 != 0) {
        return Found::Refused(Fault::Range, "a decimal of more than 38 digits");
    }
    let mut wide = [sign; WIDTH];
    wide[WIDTH - low.len()..].copy_from_slice(low);
    Found::Cell(Cell::Decimal { value: i128::from_be_bytes(wide), scale })
}

/// The text of RFC 9562.
fn uuid(bytes: [u8; 16]) -> String {
    let hex = format!("{:032x}", u128::from_be_bytes(bytes));
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}
