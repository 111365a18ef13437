//! Compaction's last step: a new base in place of what was folded, by a script that compares.

use redis::Value;

use super::Inner;
use super::exchange::Order;
use super::memo::MemoKey;
use super::name::bucket_of;
use super::script::{Script, sha1_hex};
use super::value::{head_len, header};
use crate::StoreError;
use crate::store::{Swap, check_swaps};

impl Inner {
    pub(super) async fn swap(&self, swaps: &[Swap<'_>]) -> Result<Vec<bool>, StoreError> {
        check_swaps(swaps)?;
        let orders: Vec<Order> = swaps.iter().map(|swap| self.swap_order(swap)).collect();
        // A bucket on its way is left alone: its keys are folded another time.
        let replies = self.router.exchange(orders, &self.writes(None, false)).await?;
        let mut done = Vec::with_capacity(swaps.len());
        let mut memo = self.memo.open();
        for (swap, reply) in swaps.iter().zip(replies) {
            let swapped = reply.value == Value::Int(1);
            if swapped {
                self.counts().swaps.add(1);
                let head_len = u32::try_from(head_len(swap.base)).unwrap_or(0);
                let key = MemoKey::of(swap.at, self.name_epoch(swap.epoch));
                memo.learn(key, |known| known.head_len = head_len);
            } else {
                self.counts().swaps_refused.add(1);
            }
            done.push(swapped);
        }
        Ok(done)
    }

    fn swap_order(&self, swap: &Swap<'_>) -> Order {
        let bucket = bucket_of(swap.at);
        let name = self.names.value(bucket, self.name_epoch(swap.epoch), swap.at);
        let (base, tail) = (swap.replaced.base(), swap.replaced.tail());
        let mut call = Script::Swap.call(1);
        call.arg(name).arg(header(base)).arg(head_len(base)).arg(tail.len());
        call.arg(if self.options().rules.bytes { sha1_hex(tail) } else { String::new() });
        call.arg([&header(swap.base)[..], swap.base].concat()).arg(swap.kept);
        Order::script(bucket, Script::Swap, call)
    }
}
