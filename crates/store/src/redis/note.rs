//! Notes: one string each, set by a script that compares.

use redis::{Value, cmd};

use super::Inner;
use super::exchange::Order;
use super::name::NOTES;
use super::script::Script;
use crate::StoreError;
use crate::store::check_note;

impl Inner {
    pub(super) async fn note(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let mut get = cmd("GET");
        get.arg(self.names.note(name));
        match self.noted(Order::new(NOTES, get)).await? {
            Value::BulkString(note) => Ok(Some(note)),
            _ => Ok(None),
        }
    }

    pub(super) async fn set_note(
        &self,
        name: &str,
        expected: Option<&[u8]>,
        bytes: &[u8],
    ) -> Result<bool, StoreError> {
        check_note(name, bytes)?;
        let mut call = Script::Note.call(1);
        call.arg(self.names.note(name)).arg(bytes);
        if let Some(expected) = expected {
            call.arg(expected);
        }
        let done = self.noted(Order::script(NOTES, Script::Note, call)).await?;
        Ok(done == Value::Int(1))
    }

    async fn noted(&self, order: Order) -> Result<Value, StoreError> {
        let mut replies = self.router.exchange(vec![order], &self.writes(None, true)).await?;
        Ok(replies.pop().map_or(Value::Nil, |reply| reply.value))
    }
}
