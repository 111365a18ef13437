//! What a bucket says of itself, as text of fixed widths: scripts compare it without computing, and
//! a person can read it.
//!
//! ```text
//! stand     T001 | buckets, 4 digits | epoch | incarnation of the node | turn | node's id, 40
//!           | replication id, 40 | began_us | incarnation of a primary | another ...
//! summary   complete since | least freshness               of a space
//! marks     field "source:partition"  ->  offset | freshness
//! ```
//!
//! Numbers are 16 hex digits, source and partition 8. Signed ones are shifted by 2^63, so that text
//! and number are ordered alike. `----------------` is none.
//!
//! The *turn* is changed when a bucket that stays where it is must be looked at again by every
//! writer; a writer's [`Stand`] holds both, the incarnation xor the turn.

use crate::store::{Checkpoint, NEVER_US, Stand};

const FORMAT: &str = "T001";
const NONE: &str = "----------------";
const SHIFT: u64 = 1 << 63;

/// How many buckets the keys are spread over. Each moves whole, and each costs one call a
/// checkpoint; 64 let a cluster have up to 64 primaries.
pub(super) const BUCKETS: usize = 64;

/// The start of every stand that this program writes.
pub(super) fn head() -> String {
    format!("{FORMAT}{BUCKETS:04}")
}

/// A number as text.
pub(super) fn hex(number: u64) -> String {
    format!("{number:016x}")
}

/// An instant as text in its order.
pub(super) fn hex_us(instant_us: i64) -> String {
    hex(instant_us as u64 ^ SHIFT)
}

fn number(text: &str, from: usize) -> Option<u64> {
    u64::from_str_radix(text.get(from..from + 16)?, 16).ok()
}

fn instant(text: &str, from: usize) -> Option<i64> {
    number(text, from).map(|number| (number ^ SHIFT) as i64)
}

/// Where a bucket stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) epoch: u64,
    /// Of the node, as its scripts compute it.
    pub(super) incarnation: u64,
    pub(super) turn: u64,
    /// By the server's clock.
    pub(super) began_us: i64,
}

impl Record {
    /// `None` when this is not a stand that this program could have written.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        text.strip_prefix(&head())?;
        Some(Self {
            epoch: number(text, 8)?,
            incarnation: number(text, 24)?,
            turn: number(text, 40)?,
            began_us: i64::try_from(number(text, 136)?).ok()?,
        })
    }

    /// What a writer names.
    pub(super) fn stand(&self) -> Stand {
        Stand { epoch: self.epoch, incarnation: self.incarnation ^ self.turn }
    }
}

/// The short summary of a space in a bucket: complete since, least freshness if something was
/// applied of every partition.
pub(super) fn summary(bytes: &[u8]) -> (Option<i64>, Option<i64>) {
    let text = std::str::from_utf8(bytes).unwrap_or(NONE);
    (instant(text, 0), instant(text, 16).filter(|&fresh_us| fresh_us != NEVER_US))
}

/// The field and the two numbers of a checkpoint.
pub(super) fn mark(said: &Checkpoint) -> [String; 3] {
    let field = format!("{:08x}:{:08x}", said.source, said.partition);
    [field, hex(said.offset), hex_us(said.fresh_us)]
}

/// A checkpoint from a field of the marks and what it holds.
pub(super) fn checkpoint(field: &[u8], held: &[u8]) -> Option<Checkpoint> {
    let (field, held) = (std::str::from_utf8(field).ok()?, std::str::from_utf8(held).ok()?);
    let (source, partition) = field.split_once(':')?;
    Some(Checkpoint {
        source: u32::from_str_radix(source, 16).ok()?,
        partition: u32::from_str_radix(partition, 16).ok()?,
        offset: number(held, 0)?,
        fresh_us: instant(held, 16)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_ordered_as_the_numbers_are() {
        let instants = [i64::MIN, i64::MIN + 1, -1, 0, 1, 1 << 53, (1 << 53) + 1, i64::MAX];
        let texts = instants.map(hex_us);
        assert!(texts.is_sorted(), "{texts:?}");
        for (text, us) in texts.iter().zip(instants) {
            assert_eq!(instant(text, 0), Some(us));
        }
        assert!(hex((1 << 53) + 1) > hex(1 << 53));
        assert!(hex(u64::MAX) > hex(u64::MAX - 1));
    }

    #[test]
    fn a_checkpoint_comes_back_from_its_words() {
        let said = Checkpoint { source: 7, partition: u32::MAX, offset: u64::MAX, fresh_us: -3 };
        let [field, offset, fresh] = mark(&said);
        assert_eq!(checkpoint(field.as_bytes(), (offset + &fresh).as_bytes()), Some(said));
        assert_eq!(checkpoint(b"7", b""), None);
    }

    #[test]
    fn a_stand_of_another_format_or_number_of_buckets_is_none() {
        let zeros = "0".repeat(16 * 3 + 80 + 16);
        assert!(Record::parse(format!("{}{zeros}", head()).as_bytes()).is_some());
        for bad in ["T0020064", "T0010128", "", "T00100", "\u{fc}T0010064"] {
            assert_eq!(Record::parse(format!("{bad}{zeros}").as_bytes()), None, "{bad}");
        }
    }
}
