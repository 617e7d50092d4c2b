//! The OIDC provider's keys in the table, for all instances.

use async_trait::async_trait;

use crate::domain::oidc::CachedKeys;
use crate::error::Result;
use crate::identity::KeyCache;
use crate::store::Store;

/// The keys of one issuer.
#[derive(Clone, Debug)]
pub struct StoredKeys {
    pub store: Store,
    pub issuer: String,
}

#[async_trait]
impl KeyCache for StoredKeys {
    async fn get(&self) -> Result<Option<CachedKeys>> {
        self.store.keys_get(&self.issuer).await
    }

    async fn put(&self, keys: CachedKeys) -> Result<()> {
        self.store.keys_put(&self.issuer, &keys).await
    }
}
