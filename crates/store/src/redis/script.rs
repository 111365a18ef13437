//! The scripts that run in the server: they compare and splice, and compute nothing of a feature.
//!
//! Each is loaded when a connection opens and called by its hash. A server that has forgotten it
//! says so before it does anything, and is then sent the whole text.

use std::sync::LazyLock;

use redis::{Cmd, cmd};
use sha1_smol::Sha1;

/// A script by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Script {
    /// Where a bucket stands.
    Look,
    /// How far a bucket has everything.
    Checkpoint,
    /// A new base for what was folded.
    Swap,
    /// A first base where there is nothing.
    Plant,
    /// A bucket with its marks at one moment.
    Read,
    /// The same, and early copies behind its values.
    Record,
    /// A note in place of the one that was seen.
    Note,
}

impl Script {
    pub(super) const ALL: [Self; 7] = [
        Self::Look,
        Self::Checkpoint,
        Self::Swap,
        Self::Plant,
        Self::Read,
        Self::Record,
        Self::Note,
    ];

    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Look => concat!(include_str!("lua/who.lua"), include_str!("lua/look.lua")),
            Self::Checkpoint => {
                concat!(include_str!("lua/who.lua"), include_str!("lua/checkpoint.lua"))
            }
            Self::Swap => include_str!("lua/swap.lua"),
            Self::Plant => include_str!("lua/plant.lua"),
            Self::Read => include_str!("lua/read.lua"),
            Self::Record => include_str!("lua/record.lua"),
            Self::Note => include_str!("lua/note.lua"),
        }
    }

    /// The call by hash, to be followed by keys and arguments.
    pub(super) fn call(self, keys: usize) -> Cmd {
        static HASHES: LazyLock<[String; Script::ALL.len()]> =
            LazyLock::new(|| Script::ALL.map(|script| sha1_hex(script.text().as_bytes())));
        let mut call = cmd("EVALSHA");
        call.arg(&HASHES[self as usize]).arg(keys);
        call
    }

    /// The same call with the whole text.
    pub(super) fn whole(self, call: &Cmd) -> Cmd {
        let mut whole = cmd("EVAL");
        whole.arg(self.text());
        for arg in call.args_iter().skip(2) {
            if let redis::Arg::Simple(bytes) = arg {
                whole.arg(bytes);
            }
        }
        whole
    }
}

/// SHA-1 in hex, as the server computes it.
pub(super) fn sha1_hex(bytes: &[u8]) -> String {
    Sha1::from(bytes).digest().to_string()
}
