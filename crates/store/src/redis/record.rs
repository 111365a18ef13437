//! Early copies: a script reads a bucket's values and then appends to some, so that nobody's copy
//! comes between.
//!
//! None of the rules of writing is needed for them, since nothing is claimed: what a failover takes
//! back nobody counted as applied. One thing could do harm, and the script looks at it: a name of
//! an older epoch, or of a space that was dropped, would be a value that nobody looks after. The
//! time to live is set with each copy, since the value may have begun with it.

use super::Inner;
use super::append::{expiry_of, millis};
use super::exchange::Order;
use super::read::Question;
use super::script::Script;
use super::words::hex;
use crate::store::{Append, At, Detail, Early};

impl Inner {
    pub(super) fn record_order(
        &self,
        question: &Question,
        keys: &[At<'_>],
        early: &Early<'_>,
        detail: Detail,
    ) -> Order {
        let Question { bucket, epoch, spaces, keys: read, copies } = question;
        let (bucket, named) = (*bucket, self.name_epoch(*epoch));
        let mut call = Script::Record.call(1 + 2 * spaces.len() + read.len() + copies.len());
        call.arg(self.names.stand(bucket));
        for &space in spaces {
            call.arg(self.names.summary(bucket, named, space));
            call.arg(self.names.marks(bucket, named, space));
        }
        let ats = read.iter().map(|&nth| keys[nth]);
        for at in ats.chain(copies.iter().map(|&nth| early.appends[nth].at)) {
            call.arg(self.names.value(bucket, named, at));
        }
        call.arg(hex(*epoch)).arg(u8::from(detail == Detail::Positions));
        call.arg(spaces.len()).arg(read.len()).arg(early.room);
        for &nth in copies {
            let Append { at, record } = early.appends[nth];
            // Counted from 1, as the script does.
            let space = spaces.iter().position(|space| *space == at.space);
            call.arg(space.map_or(0, |space| space + 1));
            call.arg(expiry_of(early.expiry, at.space).map_or(0, millis)).arg(record);
        }
        Order::script(bucket, Script::Record, call)
    }
}
