//! Memory of webhook and baseline.

use crate::comparison::Comparison;
use crate::usage::Memory;

/// Memory at different times.
pub struct Footprint {
    /// The webhook's, without imports.
    pub empty: Memory,
    /// The webhook's, after it observed that each import was created and became ready.
    pub watched: Memory,
    /// Idle, with all imports since the start.
    pub before: Comparison<Memory>,
    /// The peak at the fixed rate, in KiB.
    pub during: Comparison<u64>,
    /// The peak at any rate, including rates that are too high.
    pub overloaded: Comparison<u64>,
    /// Idle again, after the load.
    pub after: Comparison<Memory>,
}
