//! A machine with an image layout that stands for the registry of the examples.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use sha2::Digest as _;
use tempfile::TempDir;

/// The image name of the examples.
pub const NAME: &str = "registry.example.com/acme/app";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const TAG: &str = "org.opencontainers.image.ref.name";

/// A folder with an image layout `images`, and machines that read and write it under the name of the examples.
pub struct Scene {
    folder: TempDir,
}

impl Scene {
    /// Two images, `1.0` and `2.0`, unsigned.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let scene = Self { folder };
        fs::create_dir_all(scene.layout().join("blobs/sha256")).unwrap();
        fs::write(scene.layout().join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        let manifests: Vec<Value> = ["1.0", "2.0"].map(|tag| scene.image(tag)).into();
        scene.write_index(&json!({"schemaVersion": 2, "manifests": manifests}));
        scene
    }

    fn layout(&self) -> PathBuf {
        self.folder.path().join("images")
    }

    fn image(&self, tag: &str) -> Value {
        let config = json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}, "config": {"Labels": {"is": tag}}});
        let mut config = self.blob(config.to_string().as_bytes());
        config["mediaType"] = "application/vnd.oci.image.config.v1+json".into();
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": []});
        let mut descriptor = self.blob(manifest.to_string().as_bytes());
        descriptor["mediaType"] = MANIFEST.into();
        descriptor["annotations"] = json!({TAG: tag});
        descriptor
    }

    fn blob(&self, bytes: &[u8]) -> Value {
        let digest = hex::encode(sha2::Sha256::digest(bytes));
        fs::write(self.layout().join("blobs/sha256").join(&digest), bytes).unwrap();
        json!({"digest": format!("sha256:{digest}"), "size": bytes.len()})
    }

    fn index(&self) -> Value {
        serde_json::from_slice(&fs::read(self.layout().join("index.json")).unwrap()).unwrap()
    }

    fn write_index(&self, index: &Value) {
        fs::write(self.layout().join("index.json"), index.to_string()).unwrap();
    }

    /// Moves a tag to the image that another tag holds, as whoever can write to the registry may.
    pub fn move_tag(&self, tag: &str, to: &str) {
        let mut index = self.index();
        let manifests = index["manifests"].as_array_mut().unwrap();
        let mut moved = manifests.iter().find(|entry| entry["annotations"][TAG] == to).unwrap().clone();
        moved["annotations"][TAG] = tag.into();
        *manifests.iter_mut().find(|entry| entry["annotations"][TAG] == tag).unwrap() = moved;
        self.write_index(&index);
    }

    /// A machine of its own, whose policy maps the name of the examples to the layout and trusts nobody.
    pub fn machine(&self, who: &str) -> Machine<'_> {
        let home = self.folder.path().join(who);
        let work = self.folder.path().join(format!("{who}-work"));
        fs::create_dir_all(home.join(".config/boltseal")).unwrap();
        fs::create_dir_all(&work).unwrap();
        let mirror =
            format!("version = 1\n\n[[mirror]]\nlocation = \"oci:{}\"\nof = \"{NAME}\"\n", self.layout().display());
        fs::write(home.join(".config/boltseal/policy.toml"), mirror).unwrap();
        Machine { home, work, _scene: self }
    }
}

/// A machine: a home, and a folder to work in.
pub struct Machine<'a> {
    home: PathBuf,
    work: PathBuf,
    _scene: &'a Scene,
}

impl Machine<'_> {
    /// The folder that commands are run in.
    pub fn work(&self) -> &Path {
        &self.work
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let binary = Path::new(env!("CARGO_BIN_EXE_boltseal"));
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", binary.parent().unwrap().display()))
            .env("HOME", &self.home)
            .env("NAME", NAME)
            .env("BOLTSEAL_PASSPHRASE", "a passphrase for the examples")
            .current_dir(&self.work)
            .stdin(Stdio::null());
        command
    }

    /// Runs the program.
    pub fn boltseal(&self, arguments: &[&str]) -> Output {
        self.command(env!("CARGO_BIN_EXE_boltseal")).args(arguments).output().unwrap()
    }

    /// Runs the program, which has to succeed.
    pub fn done(&self, arguments: &[&str]) {
        let output = self.boltseal(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Runs a script, whose first failing command ends and fails it.
    pub fn script(&self, script: &str) -> String {
        let output = self.command("sh").args(["-eu", "-c", script]).output().unwrap();
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{script}\n--- printed\n{stdout}\n--- said\n{stderr}");
        stdout.into_owned()
    }
}
