//! Where most stories begin: a registry, an image in it under `acme/app:1.0`, and its owner's machine, which signed it.

use crate::image::Image;
use crate::machine::Machine;
use crate::process::Ran;
use crate::servers::Registry;

/// The repository of the scene.
pub(crate) const REPOSITORY: &str = "acme/app";

/// A registry with one signed image.
pub(crate) struct Scene {
    pub(crate) registry: Registry,
    pub(crate) owner: Machine,
    /// What `init` said: others learn from it what to trust.
    pub(crate) init: Ran,
    pub(crate) image: Image,
}

impl Scene {
    /// The usual one.
    pub(crate) fn signed() -> Self {
        Self::with(Image::with_text("the signed image"))
    }

    /// The same with another image.
    pub(crate) fn with(image: Image) -> Self {
        let registry = Registry::open();
        image.push(&registry, REPOSITORY, "1.0");
        let owner = Machine::fresh();
        let init = owner.run(["init", &registry.image(REPOSITORY)]).ok();
        owner.run(["sign", &registry.image("acme/app:1.0")]).ok();
        Self { registry, owner, init, image }
    }

    /// `acme/app` with its host.
    pub(crate) fn name(&self) -> String {
        self.registry.image(REPOSITORY)
    }

    /// `acme/app:TAG` with its host.
    pub(crate) fn tag(&self, tag: &str) -> String {
        format!("{}:{tag}", self.name())
    }

    /// `acme/app@DIGEST` of the scene's image.
    pub(crate) fn by_digest(&self) -> String {
        format!("{}@{}", self.name(), self.image.digest())
    }

    /// A second machine, which trusts the owner's root and has seen nothing yet.
    pub(crate) fn reader(&self) -> Machine {
        Machine::trusting(&self.init)
    }

    /// Puts another image under a tag and signs it.
    pub(crate) fn publish(&self, tag: &str, text: &str) -> Image {
        let image = Image::with_text(text);
        image.push(&self.registry, REPOSITORY, tag);
        self.owner.run(["sign", &self.tag(tag)]).ok();
        image
    }
}
