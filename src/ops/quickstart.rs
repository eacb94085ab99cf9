//! `quickstart`: the whole story with real keys, real metadata and real refusals.
//!
//! Every step is the use case that the command beside it runs, in a home and under a policy of its own. A step whose
//! outcome is not the expected one ends the story with an error: nothing is told that did not happen.

mod image;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::error::Error;
use super::init::{self, Request};
use super::pull;
use super::ring::Ring;
use super::sign::{self, Image, Options};
use super::transfer::Unwatched;
use super::verify::{self, Served};
use super::world::{Registries, Subject, World};
use crate::clock::Clock;
use crate::config;
use crate::image::manifest::{MAX_MANIFEST, OCI_MANIFEST};
use crate::image::{Digest, ImageName, Reference, Tag};
use crate::keystore::{self, Algorithm, FileKeyStore, KeyInfo, Passphrase, Passphrases, Purpose};
use crate::registry::head::Head;
use crate::registry::{Conditional, Point, Repository};
use crate::store::DirStore;
use crate::store::checkpoint::Checkpoint;
use crate::trust;
use crate::trust::draft::Lifetimes;
use crate::trust::policy::{Location, Overrides, Policy};
use crate::trust::verdict::Endorsement;
use image::TinyImage;

/// Where the story takes place.
pub struct Stage<'a> {
    /// The image name.
    pub name: ImageName,
    /// A folder of its own: keys, memory, policy, and the layout `images` where no registry is used.
    pub folder: &'a Path,
    /// Whether images lie in a registry; else in a layout.
    pub place: Place,
    /// Where images and trust data lie.
    pub registries: &'a dyn Registries,
    /// What time it is.
    pub clock: &'a dyn Clock,
}

/// Where the images of the story lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In an image layout.
    Layout,
    /// In a registry.
    Registry,
}

/// One thing that happened.
#[derive(Debug)]
pub struct Act {
    /// What it is about; none where it belongs to the act before.
    pub title: Option<&'static str>,
    /// What one types for it.
    pub command: Option<String>,
    /// What came of it, in lines; or the refusal that was expected.
    pub answer: Result<Vec<String>, Arc<Error>>,
}

/// Why the story ended early.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// Something stood in the way.
    #[error(transparent)]
    Failed(#[from] Error),
    /// Something else happened than has to.
    #[error("the step `{step}` did not come out as it has to: expected {expected}, got {came}")]
    Surprise {
        /// The command.
        step: String,
        /// What was expected.
        expected: &'static str,
        /// What came.
        came: String,
    },
}

impl From<crate::registry::Error> for Ended {
    fn from(error: crate::registry::Error) -> Self {
        Self::Failed(error.into())
    }
}

/// A passphrase that exists in memory alone, for as long as the story.
struct OneTime(Passphrase);

impl Passphrases for OneTime {
    fn unlock(&self, _: &KeyInfo, _: u32) -> Result<Passphrase, keystore::Error> {
        Ok(self.0.clone())
    }

    fn choose(&self, _: &Purpose, _: Option<&str>) -> Result<Passphrase, keystore::Error> {
        Ok(self.0.clone())
    }
}

/// A name at a registry that no story had before.
///
/// # Errors
/// [`Error::Usage`] where `host` is none.
pub fn fresh_name(host: &str) -> Result<ImageName, Error> {
    let run = hex::encode(super::publish::random::<4>()?);
    let name: ImageName = format!("{host}/boltseal-quickstart/app-{run}").parse()?;
    if name.host() == host {
        return Ok(name);
    }
    Err(Error::Usage(format!("`{host}` is no registry: expected `HOST` or `HOST:PORT`, and it was read as `{name}`")))
}

/// Tells the story; `tell` hears of each act when it has happened.
///
/// # Errors
/// [`Ended`]: an unexpected outcome is one.
pub async fn run(stage: &Stage<'_>, tell: &mut dyn FnMut(Act)) -> Result<(), Ended> {
    let secret = super::publish::random::<16>()?;
    let passphrases = OneTime(Passphrase::new(hex::encode(secret)));
    let keys = FileKeyStore::new(stage.folder.join("keys"));
    let memory = DirStore::new(stage.folder);
    let mut story = Story { stage, memory, ring: Ring::new(&keys, &passphrases), tag: image::tag("1.0"), tell };
    let first = TinyImage::new("release one");
    story.push(&first).await?;
    story.act(Some("An image was built and pushed"), None, vec![format!("{}  {}", first.digest(), story.tagged())]);
    story.init().await?;
    story.sign(&first, "The team signs what the tag 1.0 is").await?;
    let title = "Whoever trusts the root learns what the tag is, and how long that is current";
    story.verify(&first, Some(title)).await?;

    story.push(&TinyImage::new("something else")).await?;
    story.see_moved_tag(&first).await?;

    let old = (first, story.head().await?);
    let fixed = TinyImage::new("release one, with a hole closed");
    story.push(&fixed).await?;
    story.sign(&fixed, "A hole is found: the fixed image is pushed and signed under the same tag").await?;
    let new = story.head().await?;
    story.verify(&fixed, None).await?;
    story.push(&old.0).await?;
    story.put_head(old.1).await?;
    story.see_rollback().await?;

    story.push(&fixed).await?;
    story.put_head(new).await?;
    match stage.place {
        Place::Layout => {
            story.damage(&fixed)?;
            story.see_damage().await
        }
        Place::Registry => story.pull(&fixed).await,
    }
}

struct Story<'s, 'a> {
    stage: &'s Stage<'a>,
    memory: DirStore,
    ring: Ring<'s>,
    tag: Tag,
    tell: &'s mut dyn FnMut(Act),
}

impl Story<'_, '_> {
    fn act(&mut self, title: Option<&'static str>, command: Option<String>, lines: Vec<String>) {
        (self.tell)(Act { title, command, answer: Ok(lines) });
    }

    fn refused(&mut self, title: Option<&'static str>, command: String, refusal: Arc<Error>) {
        (self.tell)(Act { title, command: Some(command), answer: Err(refusal) });
    }

    /// A command about the image, as one types it.
    fn command(&self, verb: &str, more: &str) -> String {
        let (name, tag) = (&self.stage.name, &self.tag);
        match (self.stage.place, verb) {
            (Place::Layout, "init") => format!("boltseal init oci:images --name {name}"),
            (Place::Layout, _) => format!("boltseal {verb} oci:images:{tag} --name {name}{more}"),
            (Place::Registry, "init") => format!("boltseal init {name}"),
            (Place::Registry, _) => format!("boltseal {verb} {name}:{tag}{more}"),
        }
    }

    fn tagged(&self) -> String {
        format!("{}:{}", self.stage.name, self.tag)
    }

    fn layout(&self) -> Option<PathBuf> {
        (self.stage.place == Place::Layout).then(|| self.stage.folder.join("images"))
    }

    fn subject(&self) -> Subject {
        let reference = Reference { name: self.stage.name.clone(), tag: Some(self.tag.clone()), digest: None };
        Subject { reference, layout: self.layout() }
    }

    fn policy_file(&self) -> PathBuf {
        self.stage.folder.join("policy.toml")
    }

    /// The world as the next command finds it.
    fn world(&self) -> Result<World<'_>, Ended> {
        let file = config::policy::load_file(&self.policy_file())
            .map_err(|e| Error::Usage(format!("the policy of the story cannot be read: {e}")))?;
        Ok(World {
            registries: self.stage.registries,
            store: &self.memory,
            policy: Policy { files: file.into_iter().collect() },
            overrides: Overrides::default(),
            max_timestamp_life: None,
            trust_repository: None,
            checkpoint: Checkpoint::new(),
            now: self.stage.clock.now(),
        })
    }

    fn repository(&self) -> Result<Arc<dyn Repository>, Ended> {
        let location = match self.layout() {
            Some(folder) => Location::Layout(folder.display().to_string()),
            None => Location::Repository(self.stage.name.clone()),
        };
        Ok(self.stage.registries.open(&location)?)
    }

    /// Puts an image under the tag, as anybody with the right to push can.
    async fn push(&self, image: &TinyImage) -> Result<(), Ended> {
        let repository = self.repository()?;
        for blob in image.blobs() {
            repository.put_blob(blob.clone()).await?;
        }
        let point = Point::Tag(self.tag.clone());
        repository.put_manifest(&point, OCI_MANIFEST, image.manifest().clone(), None).await?;
        Ok(())
    }

    /// The trust data as they are now.
    async fn head(&self) -> Result<Bytes, Ended> {
        match self.repository()?.manifest(&Point::Tag(Head::tag()), None, MAX_MANIFEST).await? {
            Conditional::Modified(head) => Ok(head.bytes),
            Conditional::NotModified => Err(self.surprise("init", "trust data", "none".to_owned())),
        }
    }

    /// Puts trust data back as they once were, as whoever runs the registry can.
    async fn put_head(&self, head: Bytes) -> Result<(), Ended> {
        self.repository()?.put_manifest(&Point::Tag(Head::tag()), OCI_MANIFEST, head, None).await?;
        Ok(())
    }

    fn surprise(&self, verb: &str, expected: &'static str, came: String) -> Ended {
        Ended::Surprise { step: self.command(verb, ""), expected, came }
    }

    async fn init(&mut self) -> Result<(), Ended> {
        let request = Request {
            name: self.stage.name.clone(),
            layout: self.layout(),
            algorithm: Algorithm::Ed25519,
            lifetimes: Lifetimes::default(),
            policy_file: self.policy_file(),
        };
        let made = init::init(&self.world()?, &self.ring, &request).await?;
        let (root, targets, online) = (made.root.id.short(), made.targets.id.short(), made.online.id.short());
        let lines = vec![
            format!("made the keys: root {root}, targets {targets}, online {online}"),
            "pinned the root in the policy; others do so with the `trust add` line that `init` prints".to_owned(),
        ];
        self.act(Some("Its name gets keys, and trust data beside the image"), Some(self.command("init", "")), lines);
        Ok(())
    }

    async fn sign(&mut self, image: &TinyImage, title: &'static str) -> Result<(), Ended> {
        let images = [Image { subject: self.subject(), built: None }];
        let signed = Box::pin(sign::sign(&self.world()?, &self.ring, &images, &Options::default())).await?;
        let digest = signed.first().map(|signed| signed.manifest.digest);
        if digest != Some(image.digest()) || signed.iter().any(|signed| signed.already) {
            return Err(self.surprise("sign", "the pushed image to be signed anew", shown(digest)));
        }
        let lines = vec![format!("{}  {}", image.digest(), self.tagged())];
        self.act(Some(title), Some(self.command("sign", "")), lines);
        Ok(())
    }

    async fn ask(&self, served: Served) -> Result<Result<Endorsement, Arc<Error>>, Ended> {
        let verdict = verify::verify(&self.world()?, &[self.subject()], served).await.pop();
        verdict.map(|verdict| verdict.outcome).ok_or_else(|| self.surprise("verify", "a verdict", "none".to_owned()))
    }

    async fn verify(&mut self, image: &TinyImage, title: Option<&'static str>) -> Result<(), Ended> {
        let endorsement = self.answer("verify", image, Served::Compare).await?;
        let lines = vec![
            format!("{}  {}", endorsement.digest, self.tagged()),
            format!("signed by {}, current until {}", endorsement.signers.join(", "), endorsement.expires),
        ];
        self.act(title, Some(self.command("verify", "")), lines);
        Ok(())
    }

    /// A verdict that has to be in favour of an image.
    async fn answer(&self, verb: &str, image: &TinyImage, served: Served) -> Result<Endorsement, Ended> {
        match self.ask(served).await? {
            Ok(endorsement) if endorsement.digest == image.digest() => Ok(endorsement),
            Ok(endorsement) => Err(self.surprise(verb, "the signed digest", endorsement.digest.to_string())),
            Err(error) => Err(self.surprise(verb, "the signed digest", error.to_string())),
        }
    }

    async fn see_moved_tag(&mut self, signed: &TinyImage) -> Result<(), Ended> {
        let endorsement = self.answer("resolve", signed, Served::Ignore).await?;
        let lines = vec![format!("{}@{}", self.stage.name, endorsement.digest)];
        let title = "Attack: somebody moves the tag to another image. The signed one is still the answer";
        self.act(Some(title), Some(self.command("resolve", "")), lines);
        match self.ask(Served::Compare).await? {
            Err(refusal) if matches!(&*refusal, Error::WrongBytes { .. }) => {
                self.refused(None, self.command("verify", " --registry"), refusal);
                Ok(())
            }
            other => Err(self.surprise("verify --registry", "the moved tag to be noticed", came(other))),
        }
    }

    async fn see_rollback(&mut self) -> Result<(), Ended> {
        match self.ask(Served::Ignore).await? {
            Err(refusal) if matches!(&*refusal, Error::Trust { source: trust::Error::Rollback { .. }, .. }) => {
                let title = "Attack: the old image is put back, with its old and genuine signatures";
                self.refused(Some(title), self.command("verify", ""), refusal);
                Ok(())
            }
            other => Err(self.surprise("verify", "the rollback to be refused", came(other))),
        }
    }

    /// Changes one byte of a manifest where it is stored.
    fn damage(&self, image: &TinyImage) -> Result<(), Ended> {
        let path = self.stage.folder.join("images/blobs/sha256").join(image.digest().hex());
        let failed = |action, e: std::io::Error| {
            Ended::Failed(Error::File { action, path: path.display().to_string(), message: e.to_string() })
        };
        let mut bytes = std::fs::read(&path).map_err(|e| failed("read", e))?;
        if let Some(last) = bytes.last_mut() {
            *last ^= 1;
        }
        std::fs::write(&path, bytes).map_err(|e| failed("write", e))
    }

    async fn copy(&self) -> Result<Result<pull::Pulled, Error>, Ended> {
        let world = self.world()?;
        let decision = pull::judge(&world, &self.subject()).await;
        let progress: Arc<dyn super::transfer::Progress> = Arc::new(Unwatched);
        let copied = pull::into_layout(&world, &decision, &self.stage.folder.join("copy"), None, &progress).await;
        Ok(copied.map(|(pulled, _)| pulled))
    }

    async fn see_damage(&mut self) -> Result<(), Ended> {
        match self.copy().await? {
            Err(refusal @ Error::WrongBytes { .. }) => {
                let title = "Attack: one bit of the stored image is changed";
                self.refused(Some(title), self.command("pull", " --to oci:copy"), Arc::new(refusal));
                Ok(())
            }
            other => Err(self.surprise("pull", "the changed image to be refused", came(other))),
        }
    }

    async fn pull(&mut self, image: &TinyImage) -> Result<(), Ended> {
        match self.copy().await? {
            Ok(pulled) if pulled.digest == Some(image.digest()) => {
                let lines = vec![format!("{}@{}", self.stage.name, image.digest())];
                let title = "The registry behaves again, and the signed image is pulled by its digest";
                self.act(Some(title), Some(self.command("pull", " --to oci:copy")), lines);
                Ok(())
            }
            other => Err(self.surprise("pull", "the signed image", came(other))),
        }
    }
}

fn shown(digest: Option<Digest>) -> String {
    digest.map_or_else(|| "nothing".to_owned(), |digest| digest.to_string())
}

/// What came where something else was expected.
fn came<T, E: std::fmt::Display>(result: Result<T, E>) -> String {
    match result {
        Ok(_) => "no refusal".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::FixedClock;
    use crate::registry::http;

    #[tokio::test]
    async fn the_story_comes_out_as_it_has_to_in_a_layout() {
        let folder = tempfile::tempdir().unwrap();
        let stage = Stage {
            name: "example.com/app".parse().unwrap(),
            folder: folder.path(),
            place: Place::Layout,
            registries: &http::Client::new(http::Options::default()),
            clock: &FixedClock(jiff::Timestamp::now()),
        };
        let mut refusals = Vec::new();
        run(&stage, &mut |act| refusals.extend(act.answer.err())).await.unwrap();
        assert!(
            matches!(
                refusals.iter().map(|refusal| &**refusal).collect::<Vec<_>>()[..],
                [Error::WrongBytes { .. }, Error::Trust { .. }, Error::WrongBytes { .. }]
            ),
            "{refusals:?}"
        );
    }

    #[test]
    fn a_registry_is_a_host() {
        let name = fresh_name("localhost:5000").unwrap();
        assert!(name.to_string().starts_with("localhost:5000/boltseal-quickstart/app-"), "{name}");
        for host in ["", "localhost/x", "acme", "https://h.x", "h.x/"] {
            assert!(fresh_name(host).is_err(), "{host}");
        }
    }
}
