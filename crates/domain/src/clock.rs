//! Time is passed in, so that tests choose it.

use std::sync::atomic::{AtomicI64, Ordering};

use time::{Duration, OffsetDateTime};

/// Where time comes from. The running platform's implementation lives in its binary.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// The wall clock, in UTC.
    fn now(&self) -> OffsetDateTime;
}

/// A clock that moves only when told to.
#[derive(Debug)]
pub struct ManualClock {
    unix_micros: AtomicI64,
}

impl ManualClock {
    /// Starts at `unix_seconds` after 1970.
    pub const fn at(unix_seconds: i64) -> Self {
        Self {
            unix_micros: AtomicI64::new(unix_seconds.saturating_mul(1_000_000)),
        }
    }

    /// Moves the clock on.
    pub fn advance(&self, by: Duration) {
        let micros = i64::try_from(by.whole_microseconds()).unwrap_or(i64::MAX);
        self.unix_micros.fetch_add(micros, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> OffsetDateTime {
        let micros = i128::from(self.unix_micros.load(Ordering::SeqCst));
        OffsetDateTime::from_unix_timestamp_nanos(micros.saturating_mul(1_000))
            .unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }
}
