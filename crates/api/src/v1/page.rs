//! Pages of lists: `limit` and an opaque `cursor` that names the last thing seen.
//!
//! A cursor holds an id and nothing else. It opens nothing: a list still shows only what its caller
//! may see, whatever the cursor says.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use portcullis_domain::id::{Id, Kind};
use portcullis_wire::api::Page;
use uuid::Uuid;

use super::error::ApiError;

const DEFAULT_LIMIT: u32 = 50;
const MAX_LIMIT: u32 = 200;

/// Where a page begins and how long it may be.
#[derive(Debug, Clone, Copy)]
pub struct Window<C> {
    /// The last thing on the page before.
    pub after: Option<C>,
    limit: u32,
}

impl<C> Window<C> {
    /// The number of rows to ask for: one more than the page holds, which tells whether another
    /// page follows.
    pub const fn rows(&self) -> u32 {
        self.limit.saturating_add(1)
    }

    /// Makes a page of the rows.
    pub fn page<R, T>(
        &self,
        mut rows: Vec<R>,
        cursor: impl FnOnce(&R) -> String,
        view: impl FnMut(R) -> T,
    ) -> Page<T> {
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next_cursor = rows.last().filter(|_| more).map(cursor);
        Page {
            items: rows.into_iter().map(view).collect(),
            next_cursor,
        }
    }
}

/// A cursor's text.
pub trait Cursor: Sized {
    /// Writes it.
    fn write(&self) -> String;
    /// Reads it.
    fn read(text: &str) -> Option<Self>;
}

impl<K: Kind> Cursor for Id<K> {
    fn write(&self) -> String {
        // The kind stands in front, so that one list's cursor is not another's.
        let mut bytes = K::PREFIX.as_bytes().to_vec();
        bytes.extend_from_slice(self.as_uuid().as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn read(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let rest = bytes.strip_prefix(K::PREFIX.as_bytes())?;
        Uuid::from_slice(rest).ok().map(Self::from_row)
    }
}

impl Cursor for i64 {
    fn write(&self) -> String {
        let mut bytes = b"num".to_vec();
        bytes.extend_from_slice(&self.to_be_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn read(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let rest = bytes.strip_prefix(b"num")?;
        rest.try_into().ok().map(Self::from_be_bytes)
    }
}

/// Checks what a list's query says.
///
/// # Errors
/// The limit is out of bounds, or the cursor is none of this list's.
pub fn window<C: Cursor>(limit: Option<u32>, cursor: Option<&str>) -> Result<Window<C>, ApiError> {
    let limit = limit.unwrap_or(DEFAULT_LIMIT);
    if limit == 0 || limit > MAX_LIMIT {
        return Err(ApiError::invalid(
            "limit",
            format!("must be between 1 and {MAX_LIMIT}"),
            "Ask for fewer at a time, and follow `next_cursor`",
        ));
    }
    let after = cursor
        .map(|text| {
            C::read(text).ok_or_else(|| {
                ApiError::invalid(
                    "cursor",
                    "is no cursor of this list",
                    "Send `next_cursor` of the page before unchanged, or leave it out",
                )
            })
        })
        .transpose()?;
    Ok(Window { after, limit })
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_domain::id::{Grant, Principal};

    #[test]
    fn a_cursor_survives_its_text() {
        let id: Id<Grant> = Id::from_row(Uuid::from_u128(7));
        assert_eq!(Id::read(&id.write()), Some(id));
        assert_eq!(i64::read(&(-3_i64).write()), Some(-3));
    }

    #[test]
    fn a_cursor_of_another_list_or_of_no_list_is_refused() {
        let id: Id<Grant> = Id::from_row(Uuid::from_u128(7));
        for text in ["", "AAAA", "not a cursor", &1_i64.write(), &id.write()] {
            let window = window::<Id<Principal>>(None, Some(text));
            assert!(
                matches!(window, Err(ApiError::Invalid { ref field, .. }) if field == "cursor"),
                "{text}"
            );
        }
    }

    #[test]
    fn limits_out_of_bounds_are_refused() {
        for limit in [0, 201, u32::MAX] {
            assert!(window::<i64>(Some(limit), None).is_err(), "{limit}");
        }
    }

    #[test]
    fn only_a_full_page_with_more_behind_it_has_a_next() {
        let window = window::<i64>(Some(2), None).unwrap();
        let page = window.page(vec![1_i64, 2, 3], Cursor::write, |n| n);
        assert_eq!(page.items, [1, 2]);
        assert_eq!(page.next_cursor, Some(2_i64.write()));
        let page = window.page(vec![1_i64, 2], Cursor::write, |n| n);
        assert_eq!(page.next_cursor, None);
    }
}
