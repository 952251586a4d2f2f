//! Formats figures with their units.

use std::time::Duration;

pub fn millis(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1000.0)
}

pub fn mib(kib: u64) -> String {
    format!("{:.1}", kib as f64 / 1024.0)
}

/// A ratio, unless it is undefined.
pub fn ratio(ratio: f64) -> String {
    if ratio.is_finite() { format!("{ratio:.2}") } else { "unknown".to_owned() }
}

/// A number without its fraction.
pub fn whole(number: f64) -> String {
    format!("{number:.0}")
}
