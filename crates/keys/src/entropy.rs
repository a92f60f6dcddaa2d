//! Random bytes from the operating system: the platform's only source of them. Nothing here keeps
//! state or falls back to anything weaker.

/// The operating system gave no random bytes.
#[derive(Debug, thiserror::Error)]
#[error("the operating system gave no random bytes")]
pub struct EntropyError(#[source] getrandom::Error);

/// Fills `bytes` with random bytes.
///
/// # Errors
/// When the operating system's generator fails; `bytes` must then not be used.
pub fn fill(bytes: &mut [u8]) -> Result<(), EntropyError> {
    getrandom::fill(bytes).map_err(EntropyError)
}

/// `N` random bytes.
///
/// # Errors
/// When the operating system's generator fails.
pub fn random<const N: usize>() -> Result<[u8; N], EntropyError> {
    let mut bytes = [0; N];
    fill(&mut bytes)?;
    Ok(bytes)
}
