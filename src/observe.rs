//! How long work tells the outside what it is doing, and hears that it should stop.

use crate::error::Result;

/// Watches an operation: progress goes out, interruption comes in. Shared by the threads of one operation.
pub trait Observer: Sync {
    /// A new stage begins: `streaming`, `checking`, `writing`, `syncing`. `total` is in bytes, if known.
    fn stage(&self, name: &str, total: Option<u64>);

    /// `bytes` more are done in this stage.
    fn advance(&self, bytes: u64);

    /// Something worth a line on stderr happened, and the work goes on.
    fn notice(&self, text: &str);

    /// [`crate::error::Kind::Interrupted`] once a signal has arrived. Called at least once for each
    /// megabyte or tenth of a second of work.
    fn check(&self) -> Result<()>;
}

/// Watches nothing, never interrupts.
pub struct Unobserved;

impl Observer for Unobserved {
    fn stage(&self, _name: &str, _total: Option<u64>) {}
    fn advance(&self, _bytes: u64) {}
    fn notice(&self, _text: &str) {}
    fn check(&self) -> Result<()> {
        Ok(())
    }
}
