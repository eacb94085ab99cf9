//! The client against a real HTTP server in this process that serves the simulated repository.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use super::*;
use crate::image::Digest;
use crate::trust::simulator::{NOW, Simulator, file};

/// What the server does with the requests of one test.
#[derive(Debug, Default)]
struct Served {
    files: BTreeMap<String, Bytes>,
    status: BTreeMap<String, u16>,
    endless: Option<String>,
    requests: Vec<String>,
}

/// A repository with its server, and the folders of a client.
struct Rig {
    simulator: Simulator,
    served: Arc<Mutex<Served>>,
    base: String,
    home: TempDir,
    server: AbortHandle,
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn answer(served: &Mutex<Served>, uri: &Uri) -> Response {
    let mut served = served.lock().unwrap();
    let path = uri.path().trim_start_matches('/').to_owned();
    served.requests.push(path.clone());
    let status = served.status.get(&path).copied().unwrap_or(if served.files.contains_key(&path) { 200 } else { 404 });
    let body = match served.files.get(&path) {
        _ if served.endless.as_ref() == Some(&path) => {
            let chunk = Ok::<_, std::io::Error>(Bytes::from(vec![b' '; 1 << 16]));
            Body::from_stream(futures_util::stream::repeat_with(move || {
                chunk.as_ref().cloned().map_err(|_| unreachable!())
            }))
        }
        Some(bytes) => Body::from(bytes.clone()),
        None => Body::empty(),
    };
    Response::builder().status(StatusCode::from_u16(status).unwrap()).body(body).unwrap()
}

impl Rig {
    async fn new(mut simulator: Simulator) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let served = Arc::new(Mutex::new(Served::default()));
        let handler = served.clone();
        let app = Router::new().fallback(async move |uri: Uri| answer(&handler, &uri));
        let task = tokio::spawn(async move { axum::serve(listener, app).await }).abort_handle();
        simulator.requests.clear();
        let rig = Self { simulator, served, base, home: TempDir::new().unwrap(), server: task };
        for folder in ["metadata", "targets"] {
            fs::create_dir(rig.home.path().join(folder)).unwrap();
        }
        rig.upload();
        rig
    }

    /// A rig whose client trusts the repository's first root.
    async fn ready(simulator: Simulator) -> Self {
        let rig = Self::new(simulator).await;
        rig.init("1.root.json").unwrap();
        rig
    }

    /// Serves what the repository has published, and every target under its hash.
    fn upload(&self) {
        let mut served = self.served.lock().unwrap();
        for (name, bytes) in &self.simulator.files {
            let encoded = name.replace('/', "%2F").replace('?', "%3F").replace('#', "%23");
            served.files.insert(format!("metadata/{encoded}"), bytes.clone());
        }
    }

    fn add(&mut self, path: &str, content: &'static [u8]) {
        self.simulator.add_target("targets", path, content);
        let hash = Digest::of(content).hex();
        let named = match path.rsplit_once('/') {
            Some((folder, name)) => format!("targets/{folder}/{hash}.{name}"),
            None => format!("targets/{hash}.{path}"),
        };
        self.served.lock().unwrap().files.insert(named, Bytes::from_static(content));
        self.simulator.publish(&["targets", "snapshot", "timestamp"]);
        self.upload();
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn init(&self, root: &str) -> Result<(), Error> {
        let path = self.folder("trusted");
        fs::write(&path, self.simulator.file(root)).unwrap();
        init(&self.folder("metadata"), &path, NOW.parse().unwrap())
    }

    async fn refresh(&self) -> Result<(), Error> {
        refresh(&self.folder("metadata"), &format!("{}/metadata/", self.base), NOW.parse().unwrap()).await
    }

    async fn download(&self, targets: &[&str]) -> Result<(), Error> {
        let what = Download {
            targets: targets.iter().map(|path| (*path).to_owned()).collect(),
            base_url: format!("{}/targets", self.base),
            folder: self.folder("targets"),
        };
        download(&self.folder("metadata"), &format!("{}/metadata", self.base), NOW.parse().unwrap(), &what).await
    }

    fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.served.lock().unwrap().requests)
    }

    fn files(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.folder(folder)).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

#[tokio::test]
async fn a_refresh_asks_in_the_order_of_the_workflow_and_keeps_the_bytes_under_plain_names() {
    let rig = Rig::ready(Simulator::plain()).await;
    assert_eq!(rig.requests(), [""; 0]);
    rig.refresh().await.unwrap();
    let asked =
        ["metadata/2.root.json", "metadata/timestamp.json", "metadata/1.snapshot.json", "metadata/1.targets.json"];
    assert_eq!(rig.requests(), asked);
    assert_eq!(rig.files("metadata"), ["root.json", "snapshot.json", "targets.json", "timestamp.json"]);
    assert_eq!(fs::read(rig.folder("metadata/snapshot.json")).unwrap(), rig.simulator.file("1.snapshot.json"));
    rig.refresh().await.unwrap();
    assert_eq!(rig.requests(), asked[..2]);
}

#[tokio::test]
async fn a_root_that_does_not_verify_itself_is_not_trusted_and_nothing_is_asked_for() {
    let mut simulator = Simulator::plain();
    let unsigned = file(&simulator.signed["root"], &[9]);
    simulator.files.insert("unsigned".to_owned(), unsigned.clone());
    let rig = Rig::new(simulator).await;
    assert!(matches!(rig.init("unsigned").unwrap_err(), Error::Trust(_)));
    assert!(matches!(rig.refresh().await.unwrap_err(), Error::Trust(_)));
    fs::write(rig.folder("metadata/root.json"), unsigned).unwrap();
    assert!(matches!(rig.refresh().await.unwrap_err(), Error::Trust(trust::Error::Damaged { .. })));
    assert_eq!(rig.requests(), [""; 0]);
}

#[tokio::test]
async fn the_shipped_root_does_not_take_the_place_of_a_later_one() {
    let mut simulator = Simulator::plain();
    simulator.publish(&["root"]);
    let rig = Rig::ready(simulator).await;
    rig.init("1.root.json").unwrap();
    rig.refresh().await.unwrap();
    assert!(matches!(rig.init("1.root.json").unwrap_err(), Error::Initialised { .. }));
    assert_eq!(fs::read(rig.folder("metadata/root.json")).unwrap(), rig.simulator.file("2.root.json"));
}

#[tokio::test]
async fn only_404_and_403_mean_that_a_root_is_not_there() {
    for (status, ended) in
        [(404, true), (403, true), (400, false), (401, false), (429, false), (500, false), (204, false)]
    {
        let rig = Rig::ready(Simulator::plain()).await;
        rig.served.lock().unwrap().status.insert("metadata/2.root.json".to_owned(), status);
        assert_eq!(rig.refresh().await.is_ok(), ended, "{status}");
        assert_eq!(rig.requests().len(), if ended { 4 } else { 1 }, "{status}");
    }
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off_at_the_cap() {
    for (file, role) in [("2.root.json", RoleKind::Root), ("timestamp.json", RoleKind::Timestamp)] {
        let rig = Rig::ready(Simulator::plain()).await;
        let path = format!("metadata/{file}");
        {
            let mut served = rig.served.lock().unwrap();
            served.status.insert(path.clone(), 200);
            served.files.insert(path.clone(), Bytes::new());
            served.endless = Some(path);
        }
        let error = rig.refresh().await.unwrap_err();
        assert!(matches!(error, Error::Trust(trust::Error::Unavailable { role: r, .. }) if r == role.into()));
    }
}

#[tokio::test]
async fn a_target_is_fetched_by_its_hash_and_not_again_while_it_is_the_signed_one() {
    let mut rig = Rig::ready(Simulator::plain()).await;
    rig.add("path/to/a.txt", b"one");
    rig.download(&["path/to/a.txt"]).await.unwrap();
    let hash = Digest::of(b"one").hex();
    assert_eq!(*rig.requests().last().unwrap(), format!("targets/path/to/{hash}.a.txt"));
    assert_eq!(rig.files("targets"), ["path%2Fto%2Fa.txt"]);
    rig.download(&["path/to/a.txt"]).await.unwrap();
    assert!(rig.requests().iter().all(|path| path.starts_with("metadata/")));

    fs::write(rig.folder("targets/path%2Fto%2Fa.txt"), b"bad").unwrap();
    rig.download(&["path/to/a.txt"]).await.unwrap();
    assert_eq!(fs::read(rig.folder("targets/path%2Fto%2Fa.txt")).unwrap(), b"one");

    rig.add("path/to/a.txt", b"newer");
    rig.download(&["path/to/a.txt"]).await.unwrap();
    assert_eq!(fs::read(rig.folder("targets/path%2Fto%2Fa.txt")).unwrap(), b"newer");
}

#[tokio::test]
async fn targets_are_handled_one_after_the_other_up_to_the_first_failure() {
    let mut rig = Rig::ready(Simulator::plain()).await;
    rig.add("a", b"a");
    rig.add("b", b"b");
    rig.add("c", b"c");
    rig.served.lock().unwrap().files.insert(format!("targets/{}.b", Digest::of(b"b").hex()), "evil".into());
    assert!(
        matches!(rig.download(&["a", "b", "c"]).await.unwrap_err(), Error::Unavailable { path, .. } if path == "b")
    );
    assert_eq!(rig.files("targets"), ["a"]);
    rig.served.lock().unwrap().files.insert(format!("targets/{}.b", Digest::of(b"b").hex()), "B".into());
    assert!(matches!(rig.download(&["b"]).await.unwrap_err(), Error::WrongBytes { path } if path == "b"));
    assert!(matches!(rig.download(&["none", "c"]).await.unwrap_err(), Error::NoTarget { path } if path == "none"));
    assert_eq!(rig.files("targets"), ["a"]);
}

#[tokio::test]
async fn one_signer_does_not_vouch_for_a_role_on_another_way_in_one_run() {
    let mut simulator = Simulator::plain();
    simulator.delegate("targets", "A", 50, &["a*"], false);
    simulator.delegate("targets", "B", 51, &["b*"], false);
    simulator.delegate("A", "shared", 52, &["*"], false);
    simulator.delegate("B", "shared", 53, &["*"], false);
    for path in ["a1", "b1"] {
        simulator.add_target("shared", path, b"x");
    }
    simulator.signers.insert("shared".to_owned(), vec![52]);
    simulator.publish(&["shared", "A", "B", "targets", "snapshot", "timestamp"]);
    let rig = Rig::ready(simulator).await;
    for path in ["a1", "b1"] {
        let name = format!("targets/{}.{path}", Digest::of(b"x").hex());
        rig.served.lock().unwrap().files.insert(name, "x".into());
    }
    let error = rig.download(&["a1", "b1"]).await.unwrap_err();
    assert!(matches!(error, Error::Trust(trust::Error::Unsigned { have: 0, need: 1, .. })));
    assert_eq!(rig.files("targets"), ["a1"]);
}

#[tokio::test]
async fn odd_role_names_are_asked_for_encoded_and_stay_in_the_folder() {
    for (role, asked) in [("?", "1.%3F.json"), ("#", "1.%23.json"), ("../x", "1...%2Fx.json"), ("/x", "1.%2Fx.json")] {
        let mut simulator = Simulator::plain();
        simulator.delegate("targets", role, 50, &["*"], false);
        simulator.publish(&[role, "targets", "snapshot", "timestamp"]);
        let rig = Rig::ready(simulator).await;
        assert!(matches!(rig.download(&["none"]).await.unwrap_err(), Error::NoTarget { .. }));
        assert_eq!(*rig.requests().last().unwrap(), format!("metadata/{asked}"));
        assert_eq!(rig.files("metadata").len(), 5);
        assert_eq!(rig.files(".").len(), 3);
    }
}

#[tokio::test]
async fn a_role_name_too_long_for_a_file_system_is_kept_under_its_hash() {
    let mut simulator = Simulator::plain();
    let role = "é".repeat(100);
    simulator.delegate("targets", &role, 50, &["*"], false);
    simulator.publish(&[&role, "targets", "snapshot", "timestamp"]);
    let rig = Rig::ready(simulator).await;
    let name = format!("metadata/1.{}.json", "%C3%A9".repeat(100));
    rig.served.lock().unwrap().files.insert(name, rig.simulator.file(&format!("1.{role}.json")));
    assert!(matches!(rig.download(&["none"]).await.unwrap_err(), Error::NoTarget { .. }));
    assert!(rig.files("metadata").contains(&format!("{}.json", Digest::of(role.as_bytes()).hex())));
}

#[tokio::test]
async fn no_target_path_leads_out_of_the_folder() {
    let mut rig = Rig::ready(Simulator::plain()).await;
    for path in ["..", "../x", "a/../../x", "./x", ""] {
        rig.add(path, b"x");
        assert!(matches!(rig.download(&[path]).await.unwrap_err(), Error::Unusable { .. }), "{path}");
    }
    for path in ["/etc/x", "C:\\x", ".hidden", "a\0b"] {
        rig.add(path, b"x");
        let outcome = rig.download(&[path]).await;
        assert!(matches!(outcome, Ok(()) | Err(Error::Unavailable { .. })), "{path}");
    }
    assert_eq!(rig.files(".").len(), 3);
    assert!(rig.files("targets").iter().all(|name| !name.starts_with('.')));
}

#[cfg(unix)]
#[tokio::test]
async fn a_link_in_the_folder_is_replaced_and_not_followed() {
    let mut rig = Rig::ready(Simulator::plain()).await;
    rig.add("a", b"x");
    let victim = rig.folder("victim");
    for content in ["precious", "x"] {
        fs::write(&victim, content).unwrap();
        let link = rig.folder("targets/a");
        let _ = fs::remove_file(&link);
        std::os::unix::fs::symlink(&victim, &link).unwrap();
        rig.download(&["a"]).await.unwrap();
        assert_eq!(fs::read_to_string(&victim).unwrap(), content);
        assert!(fs::symlink_metadata(&link).unwrap().is_file());
    }
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_an_error() {
    let rig = Rig::ready(Simulator::plain()).await;
    fs::create_dir(rig.folder("metadata/timestamp.json")).unwrap();
    assert!(matches!(rig.refresh().await.unwrap_err(), Error::Io { .. }));
}

#[tokio::test]
async fn addresses_that_are_not_http_are_refused() {
    let rig = Rig::ready(Simulator::plain()).await;
    for url in ["file:///etc", "ftp://127.0.0.1/", "nonsense", "http://127.0.0.1/?q", "http://127.0.0.1/#f"] {
        let error = refresh(&rig.folder("metadata"), url, NOW.parse().unwrap()).await.unwrap_err();
        assert!(matches!(error, Error::Address { .. }), "{url}");
    }
}
