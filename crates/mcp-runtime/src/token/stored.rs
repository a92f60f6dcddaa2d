//! Bindings in the control database.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use portcullis_store::bindings::{self, Bound, TokenUse};
use portcullis_store::{ControlStore, StoreError};

use super::replay::{Binding, BindingStore, BindingStoreError, Use};

impl BindingStore for ControlStore {
    fn bind(&self, binding: Binding) -> BoxFuture<'_, Result<Use, BindingStoreError>> {
        async move {
            bind(self, &binding)
                .await
                .map_err(|error| BindingStoreError::Store(Box::new(error)))
        }
        .boxed()
    }
}

async fn bind(store: &ControlStore, binding: &Binding) -> Result<Use, StoreError> {
    let mut tx = store.begin(binding.tenant).await?;
    let used = TokenUse {
        iss: &binding.issuer,
        jti: &binding.token_id,
        binding: &binding.hash,
        kind: binding.kind.as_str(),
        expires_at: binding.keep_until,
    };
    let bound = bindings::bind_or_compare(&mut tx, used, binding.used_at).await?;
    // Only what is committed is an answer: until then the first use could still be undone.
    tx.commit().await?;
    Ok(match bound {
        Bound::First => Use::First,
        Bound::Same => Use::Same,
        Bound::Different => Use::Different,
    })
}
