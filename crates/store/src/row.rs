//! Reading columns into the project's types, and pages. It must never guess: a value that is not one
//! of ours is an error.

use std::str::FromStr;

use uuid::Uuid;

use crate::error::StoreError;

/// A page of a list that is ordered by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// The last id of the page before; none for the first page.
    pub after: Option<Uuid>,
    /// How many rows at most; at least one, at most 1,000.
    pub limit: u32,
}

impl Page {
    /// The first page.
    pub const fn first(limit: u32) -> Self {
        Self { after: None, limit }
    }

    pub(crate) fn limit(self) -> i64 {
        i64::from(self.limit.clamp(1, 1_000))
    }
}

/// Reads a text column.
pub(crate) fn parse<T: FromStr>(
    operation: &'static str,
    column: &'static str,
    text: &str,
) -> Result<T, StoreError> {
    text.parse()
        .ok()
        .ok_or(StoreError::Corrupt { operation, column })
}

/// Reads a number into a narrower type.
pub(crate) fn narrow<T: TryFrom<i64>>(
    operation: &'static str,
    column: &'static str,
    number: i64,
) -> Result<T, StoreError> {
    T::try_from(number)
        .ok()
        .ok_or(StoreError::Corrupt { operation, column })
}

/// Reads bytes of a fixed length.
pub(crate) fn fixed<const N: usize>(
    operation: &'static str,
    column: &'static str,
    bytes: Vec<u8>,
) -> Result<[u8; N], StoreError> {
    bytes
        .try_into()
        .ok()
        .ok_or(StoreError::Corrupt { operation, column })
}

/// Whether the one row that a statement was about was there.
pub(crate) const fn expect_one(operation: &'static str, affected: u64) -> Result<(), StoreError> {
    if affected == 1 {
        Ok(())
    } else {
        Err(StoreError::NotFound { operation })
    }
}
