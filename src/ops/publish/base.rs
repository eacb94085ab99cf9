//! What a publisher builds on: the head, verified as a client with memory verifies it.
//!
//! Where the head is a rival's that came late and knows less than memory, the publisher builds on the head that it
//! remembers. That is no laundering of a rollback: what it builds on is the highest state it ever verified. A head that
//! was merely put back is refused as every client refuses it: everything that it absorbed, memory has absorbed too.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ops::client::{Client, Reading, Updated};
use crate::ops::error::Error;
use crate::registry::{self, head};
use crate::store::{HeadMark, MemoryStore};
use crate::trust;
use crate::trust::envelope::Metadata as _;
use crate::trust::intent::Absorbed;
use crate::trust::update::Trusted;

/// Largest list of absorbed operations read, in bytes.
const MAX_ABSORBED: u64 = 16 << 20;

/// A verified state with what a publisher must know of it.
pub(super) struct Base {
    /// The state.
    pub(super) updated: Updated,
    /// The operations that it has absorbed.
    pub(super) absorbed: Absorbed,
    /// The head that is replaced: its own, or the late rival's.
    pub(super) over: HeadMark,
}

impl Base {
    pub(super) fn trusted(&self) -> &Trusted {
        &self.updated.trusted
    }

    /// Reads and verifies what to build on.
    pub(super) async fn read(client: &Client<'_>, wanted: &[String]) -> Result<Self, Error> {
        match client.update(wanted, Reading::Whole).await {
            Ok(updated) => {
                let absorbed = absorbed(client, &updated).await?;
                Ok(Self { over: updated.head.clone(), absorbed, updated })
            }
            Err(error) if may_be_late(&error) => match Self::remembered(client, wanted).await {
                Ok(Some(base)) => Ok(base),
                Ok(None) => Err(error),
                Err(other) => {
                    tracing::debug!("the remembered head does not help: {other}");
                    Err(error)
                }
            },
            Err(error) => Err(error),
        }
    }

    /// The state alone, for who looks before it publishes.
    pub(super) async fn look(client: &Client<'_>, wanted: &[String], reading: Reading) -> Result<Updated, Error> {
        match client.update(wanted, reading).await {
            Err(error) if may_be_late(&error) => Ok(Self::read(client, wanted).await?.updated),
            other => other,
        }
    }

    /// The remembered state, where the present head is a rival that it does not know.
    async fn remembered(client: &Client<'_>, wanted: &[String]) -> Result<Option<Self>, Error> {
        let location = client.repository.location();
        let Some(mark) = client.store.open(client.name)?.head(&location)? else { return Ok(None) };
        let fresh = MemoryStore::new();
        let stranger = Client {
            name: client.name,
            repository: Arc::clone(&client.repository),
            store: &fresh,
            rules: client.rules.clone(),
            floors: BTreeMap::new(),
        };
        let rival = stranger.update(&[], Reading::Whole).await?;
        let updated = client.update(wanted, Reading::Remembered(mark.digest)).await?;
        let known = absorbed(client, &updated).await?;
        if !absorbed(&stranger, &rival).await?.exceeds(&known, client.rules.now) {
            return Ok(None);
        }
        Ok(Some(Self { updated, absorbed: known, over: rival.head }))
    }
}

/// Whether a rival who was late could explain why a head is refused: it is lower than what is remembered, or signed
/// under a root that has been replaced.
fn may_be_late(error: &Error) -> bool {
    let Error::Trust { source, .. } = error else { return false };
    matches!(source, trust::Error::Rollback { .. } | trust::Error::Unsigned { .. })
}

/// The operations that a verified state has absorbed: the file that its timestamp binds.
async fn absorbed(client: &Client<'_>, base: &Updated) -> Result<Absorbed, Error> {
    let Some(reference) = base.trusted.timestamp.binding().and_then(|binding| binding.absorbed.as_ref()) else {
        return Ok(Absorbed::default());
    };
    let location = client.repository.location();
    let broken = |message: &str| {
        Error::Registry(registry::Error::Broken { location: location.clone(), message: message.to_owned() })
    };
    let manifest = base.manifest.as_ref().ok_or_else(|| broken("the head was not read"))?;
    let file = head::read(&*client.repository, manifest, head::ABSORBED, MAX_ABSORBED).await?;
    let bytes = file.filter(|bytes| reference.fits(bytes));
    let bytes = bytes.ok_or_else(|| broken("the list of absorbed operations is not the signed one"))?;
    Absorbed::parse(&bytes).map_err(Error::of(client.name))
}
