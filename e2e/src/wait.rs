//! Waiting for something to become true, with a deadline. Never for a fixed time.

use std::future::Future;
use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::Instant;

const BETWEEN: Duration = Duration::from_millis(15);

/// Asks `probe` again and again until it gives a value.
///
/// # Errors
/// The probe failed, or `within` passed; the message says what was awaited.
pub async fn until<T, F>(what: &str, within: Duration, mut probe: impl FnMut() -> F) -> Result<T>
where
    F: Future<Output = Result<Option<T>>>,
{
    let deadline = Instant::now() + within;
    loop {
        if let Some(value) = probe().await? {
            return Ok(value);
        }
        if Instant::now() >= deadline {
            bail!("{what}: not within {} s", within.as_secs_f32());
        }
        tokio::time::sleep(BETWEEN).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_never_comes_is_an_error_that_says_what() {
        let error = until::<(), _>("snow", Duration::from_millis(20), || async { Ok(None) })
            .await
            .unwrap_err();
        assert!(error.to_string().starts_with("snow: not within"), "{error}");
    }

    #[tokio::test]
    async fn what_comes_late_is_seen() {
        let mut asked = 0;
        let got = until("three", Duration::from_secs(5), || {
            asked += 1;
            let answer = (asked == 3).then_some(asked);
            async move { Ok(answer) }
        });
        assert_eq!(got.await.unwrap(), 3);
    }
}
