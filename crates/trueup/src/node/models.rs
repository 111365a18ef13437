//! The thread that looks at the folder of models: beside the server, which never waits for it.

use super::keeper::End;
use super::{NodeError, NodeOptions};
use crate::http::App;
use crate::score::Models;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// How often it looks: a new model is in service within two seconds or so.
const LOOK: Duration = Duration::from_secs(1);

/// Opens what settings say of models, if they do.
pub(super) fn open(options: &NodeOptions) -> Result<Option<Models>, NodeError> {
    options.models.as_ref().map(Models::open).transpose().map_err(NodeError::Settings)
}

/// A running keeper; it ends with this.
#[derive(Debug)]
pub(super) struct ModelsKeeper {
    thread: Option<JoinHandle<()>>,
    end: Arc<End>,
}

impl ModelsKeeper {
    /// Looks for the first time, then again and again on a thread. Blocks for the first.
    pub(super) fn start(app: Arc<App>) -> io::Result<ModelsKeeper> {
        let look = move || {
            if let Some(models) = &app.models {
                models.look(app.live().catalog());
            }
        };
        look();
        let end = Arc::new(End::default());
        let heard = Arc::clone(&end);
        let keep = move || {
            while !heard.within(LOOK) {
                look();
            }
        };
        let thread = std::thread::Builder::new().name("models".into()).spawn(keep)?;
        Ok(ModelsKeeper { thread: Some(thread), end })
    }
}

impl Drop for ModelsKeeper {
    fn drop(&mut self) {
        self.end.say();
        if let Some(thread) = self.thread.take() {
            // A panic was reported by the thread itself.
            let _ = thread.join();
        }
    }
}
