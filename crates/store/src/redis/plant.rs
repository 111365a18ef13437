//! A first base for a key that holds nothing, by a script that looks whether that is so.
//!
//! As with early copies nothing is claimed, so none of the rules of writing is needed. The script
//! looks at the epoch, and enters the space among those that were written to: a value that nobody
//! knows of would stay for ever. A bucket without a stand is begun first, as any writer does who
//! finds it so; workers then find another epoch than theirs, and rewind.

use redis::Value;

use super::Inner;
use super::append::millis;
use super::exchange::Order;
use super::memo::MemoKey;
use super::name::{bucket_of, digest};
use super::script::Script;
use super::value::{head_len, header};
use super::words::hex;
use crate::StoreError;
use crate::store::{Plant, check_plant};

impl Inner {
    pub(super) async fn plant(&self, plant: &Plant<'_>) -> Result<bool, StoreError> {
        check_plant(plant)?;
        let bucket = bucket_of(plant.at);
        let epoch = match plant.epoch {
            0 => self.look_at(&[bucket], false).await?[0].epoch,
            epoch => epoch,
        };
        let orders = vec![self.plant_order(bucket, epoch, plant)];
        // A bucket on its way is left alone: its key is asked for another time.
        let replies = self.router.exchange(orders, &self.writes(None, false)).await?;
        let done = replies.iter().all(|reply| reply.value == Value::Int(1));
        if done {
            let head_len = u32::try_from(head_len(plant.base)).unwrap_or(0);
            let key = MemoKey::of(plant.at, self.name_epoch(epoch));
            self.memo.open().learn(key, |known| known.head_len = head_len);
        }
        Ok(done)
    }

    fn plant_order(&self, bucket: usize, epoch: u64, plant: &Plant<'_>) -> Order {
        let Plant { at, base, expiry, .. } = *plant;
        let named = self.name_epoch(epoch);
        let mut call = Script::Plant.call(3);
        call.arg(self.names.stand(bucket)).arg(self.names.spaces(bucket, named));
        call.arg(self.names.value(bucket, named, at));
        call.arg(hex(epoch)).arg(digest(at.space)).arg(expiry.map_or(0, millis));
        call.arg([&header(base)[..], base].concat());
        Order::script(bucket, Script::Plant, call)
    }
}
