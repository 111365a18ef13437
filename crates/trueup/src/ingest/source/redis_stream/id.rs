//! IDs of a stream's entries as offsets.
//!
//! ```text
//!   ID  1764013436123-7          offset  [ 43 bits: milliseconds since 1970 ][ 20 bits: number ]
//! ```
//!
//! The order is that of the IDs and no two have one offset, so an offset is told back into its ID.
//! The bits last until the year 2248 and for a million entries of one millisecond, which no server
//! takes; offsets stay within 63 bits, for what keeps them in signed numbers. An ID that does not
//! fit was made by a producer, not by the server, and is refused: its place could not be written
//! down.

use std::fmt;

/// Bits of an offset for the number within a millisecond.
const NUMBER_BITS: u32 = 20;

/// One past the largest number within a millisecond.
const NUMBERS: u64 = 1 << NUMBER_BITS;

/// One past the largest time, in milliseconds since 1970.
const MILLIS: u64 = 1 << 43;

/// An ID as a source's offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id(pub(super) u64);

impl Id {
    /// Reads what the server writes; the reason, with the ID, if it is no offset.
    pub(super) fn parse(text: &str) -> Result<Id, String> {
        let parts = text.split_once('-');
        let parts = parts.and_then(|(ms, nth)| Some((ms.parse().ok()?, nth.parse().ok()?)));
        let Some((millis, number)): Option<(u64, u64)> = parts else {
            return Err(format!("{text:?} is no ID of an entry"));
        };
        if millis >= MILLIS || number >= NUMBERS {
            return Err(format!(
                "entry {text} has an ID that is too large: its time may go up to {} and its number \
                 up to {}",
                MILLIS - 1,
                NUMBERS - 1
            ));
        }
        Ok(Id(millis << NUMBER_BITS | number))
    }

    /// The time in it, microseconds since 1970.
    pub(super) fn time_us(self) -> i64 {
        // 43 bits of milliseconds are 53 of microseconds.
        (self.0 >> NUMBER_BITS) as i64 * 1_000
    }
}

/// As the server writes it.
impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0 >> NUMBER_BITS, self.0 % NUMBERS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_in_the_order_of_the_ids_and_lead_back_to_them() {
        let ids = ["0-0", "0-1", "0-1048575", "1-0", "1764013436123-7", "8796093022207-1048575"];
        let offsets: Vec<Id> = ids.iter().map(|id| Id::parse(id).unwrap()).collect();
        assert!(offsets.is_sorted_by(|one, next| one < next), "{offsets:?}");
        assert!(offsets.iter().zip(ids).all(|(offset, id)| offset.to_string() == id));
        assert_eq!(offsets[5].0, i64::MAX as u64, "within 63 bits");
        assert_eq!(offsets[4].time_us(), 1_764_013_436_123_000);
    }

    #[test]
    fn an_id_that_does_not_fit_is_named() {
        for id in ["8796093022208-0", "1-1048576", "18446744073709551615-0"] {
            let reason = Id::parse(id).unwrap_err();
            assert!(reason.contains(&format!("entry {id} ")), "{reason}");
        }
        for text in ["", "5", "a-b", "1-2-3", "-1-2"] {
            assert!(Id::parse(text).unwrap_err().contains("no ID"), "{text}");
        }
    }
}
