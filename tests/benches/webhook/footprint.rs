use crate::both::Both;
use crate::usage::Memory;

/// Memory at different times.
pub struct Footprint {
    /// The webhook's, without imports.
    pub empty: Memory,
    /// The webhook's, after it observed that each import was created and became ready.
    pub watched: Memory,
    /// Idle, with all imports from the start.
    pub before: Both<Memory>,
    /// The peak at the fixed rate, in KiB.
    pub during: Both<u64>,
    /// The peak at any rate, including rates that were too high.
    pub overloaded: Both<u64>,
    /// Idle again.
    pub after: Both<Memory>,
}
