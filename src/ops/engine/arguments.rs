//! How each engine is spoken to.

use std::ffi::OsString;
use std::path::Path;

use super::Connection;
use super::program::Volume;
use crate::config::Engine;

/// Asks whether the engine works, daemon included.
pub(super) fn probe(engine: Engine) -> Vec<OsString> {
    match engine {
        Engine::Docker => words(&["version", "--format", "{{.Server.Version}}"]),
        // It has no daemon of its own: this fails where its storage, or a remote machine, cannot be used.
        Engine::Podman => words(&["info", "--format", "{{.Version.Version}}"]),
        Engine::Nerdctl => words(&["info"]),
        Engine::Ctr => words(&["version"]),
    }
}

/// Pulls an image. `private` is a `certs.d` folder that holds the CA of the connection, where there is one.
pub(super) fn pull(
    engine: Engine,
    image: &str,
    connection: &Connection,
    private: Option<&Path>,
    volume: Volume,
) -> Vec<OsString> {
    let certs_d = private.or(connection.certs_d.as_deref());
    let loose = connection.plain || connection.unchecked;
    let option = |name: &str, value: &Path| [OsString::from(name), value.as_os_str().to_owned()];
    let mut line = Vec::new();
    match engine {
        // How to connect is the daemon's own setting.
        Engine::Docker => line.extend(words(&["pull"])),
        Engine::Podman => {
            line.extend(words(&["pull"]));
            if loose {
                line.extend(words(&["--tls-verify=false"]));
            } else if let Some(folder) = certs_d {
                line.extend(option("--cert-dir", &folder.join(&connection.host)));
            }
        }
        Engine::Nerdctl => {
            // These stand before the verb.
            if loose {
                line.extend(words(&["--insecure-registry"]));
            } else if let Some(folder) = certs_d {
                line.extend(option("--hosts-dir", folder));
            }
            line.extend(words(&["pull"]));
        }
        Engine::Ctr => {
            line.extend(words(&["images", "pull"]));
            if connection.plain {
                line.extend(words(&["--plain-http"]));
            } else if connection.unchecked {
                line.extend(words(&["--skip-verify"]));
            } else if let Some(folder) = certs_d {
                line.extend(option("--hosts-dir", folder));
            }
        }
    }
    if volume == Volume::Quiet && engine != Engine::Ctr {
        line.extend(words(&["--quiet"]));
    }
    line.push(image.into());
    line
}

/// Gives an image another name.
pub(super) fn tag(engine: Engine, image: &str, name: &str) -> Vec<OsString> {
    match engine {
        Engine::Docker | Engine::Podman | Engine::Nerdctl => words(&["tag", image, name]),
        // The others take the name from the image that had it; this one must be told to.
        Engine::Ctr => words(&["images", "tag", "--force", image, name]),
    }
}

/// Asks which digests a name stands for.
pub(super) fn digests(engine: Engine, name: &str) -> Vec<OsString> {
    match engine {
        Engine::Docker | Engine::Podman | Engine::Nerdctl => {
            words(&["image", "inspect", "--format", "{{json .RepoDigests}}", name])
        }
        Engine::Ctr => words(&["images", "list", &format!("name==\"{name}\"")]),
    }
}

fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(Into::into).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGE: &str = "r.lan:5000/acme/app@sha256:ab";

    fn line(engine: Engine, change: impl FnOnce(&mut Connection), volume: Volume) -> String {
        let mut connection = Connection { host: "r.lan:5000".to_owned(), ..Connection::default() };
        change(&mut connection);
        let private = connection.ca.is_some().then_some(Path::new("/private"));
        let line = pull(engine, IMAGE, &connection, private, volume);
        let line: Vec<_> = line.iter().map(|word| word.to_string_lossy()).collect();
        line.join(" ").replace(IMAGE, "IMAGE")
    }

    #[test]
    fn every_engine_is_told_what_boltseal_was_told_about_the_connection() {
        let table = [
            (Engine::Docker, ["pull IMAGE", "pull IMAGE", "pull IMAGE", "pull IMAGE", "pull IMAGE"]),
            (
                Engine::Podman,
                [
                    "pull IMAGE",
                    "pull --tls-verify=false IMAGE",
                    "pull --tls-verify=false IMAGE",
                    "pull --cert-dir /private/r.lan:5000 IMAGE",
                    "pull --cert-dir /certs/r.lan:5000 IMAGE",
                ],
            ),
            (
                Engine::Nerdctl,
                [
                    "pull IMAGE",
                    "--insecure-registry pull IMAGE",
                    "--insecure-registry pull IMAGE",
                    "--hosts-dir /private pull IMAGE",
                    "--hosts-dir /certs pull IMAGE",
                ],
            ),
            (
                Engine::Ctr,
                [
                    "images pull IMAGE",
                    "images pull --plain-http IMAGE",
                    "images pull --skip-verify IMAGE",
                    "images pull --hosts-dir /private IMAGE",
                    "images pull --hosts-dir /certs IMAGE",
                ],
            ),
        ];
        for (engine, [usual, plain, unchecked, ca, certs_d]) in table {
            assert_eq!(line(engine, |_| {}, Volume::Normal), usual);
            assert_eq!(line(engine, |c| c.plain = true, Volume::Normal), plain);
            assert_eq!(line(engine, |c| c.unchecked = true, Volume::Normal), unchecked);
            assert_eq!(line(engine, |c| c.ca = Some("ca.pem".into()), Volume::Normal), ca);
            assert_eq!(line(engine, |c| c.certs_d = Some("/certs".into()), Volume::Normal), certs_d);
        }
    }

    #[test]
    fn a_quiet_run_asks_for_a_quiet_engine() {
        assert_eq!(line(Engine::Docker, |_| {}, Volume::Quiet), "pull --quiet IMAGE");
        assert_eq!(line(Engine::Podman, |_| {}, Volume::Quiet), "pull --quiet IMAGE");
        assert_eq!(line(Engine::Nerdctl, |_| {}, Volume::Quiet), "pull --quiet IMAGE");
        assert_eq!(line(Engine::Ctr, |_| {}, Volume::Quiet), "images pull IMAGE");
    }
}
