//! A proxy before a registry that makes the way to it bad: it stalls, reorders, answers 500 and cuts connections, as
//! a seeded generator says; and it tells a watcher of every request, before it is passed on and after.
//!
//! One request for each connection: nothing of one request can depend on another.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Longest head of a request.
const MAX_HEAD: usize = 64 * 1024;

/// What the way to the registry is like. Odds are per thousand requests.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Weather {
    /// Longest random stall of a request, on the way there or on the way back.
    pub(crate) stall: Duration,
    /// Longest further stall of a PUT of a manifest, so that PUTs overtake one another.
    pub(crate) reorder: Duration,
    /// Odds of a 500 in place of the registry's answer; the request is not passed on.
    pub(crate) failures: u64,
    /// Odds of a 500 after the request was carried out.
    pub(crate) late_failures: u64,
    /// Odds of a connection cut instead of an answer, half of them before the request is passed on.
    pub(crate) cuts: u64,
}

/// When a watcher is told of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// It has come in, and nothing of it was passed on.
    Before,
    /// The registry has carried it out, and nothing of its answer was passed on.
    After,
}

/// A request as a watcher sees it.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) body: usize,
}

type Watcher = dyn Fn(Moment, &Seen) -> bool + Send + Sync;

/// A running proxy.
pub(crate) struct Proxy {
    address: String,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    target: String,
    weather: Mutex<Weather>,
    seed: AtomicU64,
    number: AtomicUsize,
    open: AtomicBool,
    watcher: Box<Watcher>,
}

impl Proxy {
    /// Starts one before the registry at `target` (`host:port`).
    pub(crate) fn start(target: &str, seed: u64) -> Self {
        Self::watched(target, seed, |_, _| true)
    }

    /// The same, with a watcher that is called on the request's own thread: nothing goes on until it returns, and not
    /// then either where it says no.
    pub(crate) fn watched(
        target: &str,
        seed: u64,
        watcher: impl Fn(Moment, &Seen) -> bool + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port on loopback is free");
        let address = listener.local_addr().expect("a listener has an address").to_string();
        let shared = Arc::new(Shared {
            target: target.to_owned(),
            weather: Mutex::default(),
            seed: AtomicU64::new(seed),
            number: AtomicUsize::new(0),
            open: AtomicBool::new(true),
            watcher: Box::new(watcher),
        });
        let acceptor = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                for stream in listener.incoming().map_while(Result::ok) {
                    if !shared.open.load(Ordering::SeqCst) {
                        return;
                    }
                    let shared = Arc::clone(&shared);
                    thread::spawn(move || shared.serve(stream));
                }
            }
        });
        Self { address, shared, acceptor: Some(acceptor) }
    }

    /// `127.0.0.1:PORT`, as it stands in image names.
    pub(crate) fn host(&self) -> String {
        self.address.clone()
    }

    /// Changes the weather, which is fair at first.
    pub(crate) fn turn(&self, weather: Weather) {
        *self.shared.weather.lock().unwrap_or_else(PoisonError::into_inner) = weather;
    }

    /// How many requests came in.
    pub(crate) fn requests(&self) -> usize {
        self.shared.number.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.open.store(false, Ordering::SeqCst);
        // Wakes the acceptor, which then ends.
        let _ = TcpStream::connect(&self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

impl Shared {
    fn serve(&self, mut client: TcpStream) {
        let _ = client.set_nodelay(true);
        let Some((head, body)) = read_request(&mut client) else { return };
        let mut words = head.split(' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        self.number.fetch_add(1, Ordering::SeqCst);
        let seen = Seen { method: method.to_owned(), path: path.to_owned(), body: body.len() };
        if !(self.watcher)(Moment::Before, &seen) {
            return;
        }
        let weather = *self.weather.lock().unwrap_or_else(PoisonError::into_inner);
        // One stall, on the way there or on the way back.
        let (there, back) = if self.random().is_multiple_of(2) {
            (weather.stall, Duration::ZERO)
        } else {
            (Duration::ZERO, weather.stall)
        };
        self.stall(there);
        if method == "PUT" && path.contains("/manifests/") {
            self.stall(weather.reorder);
        }
        let fate = self.random() % 1000;
        if fate < weather.failures {
            let _ = client.write_all(FAILURE);
            return;
        }
        let cut = fate >= 1000 - weather.cuts;
        if cut && fate.is_multiple_of(2) {
            let _ = client.shutdown(Shutdown::Both);
            return;
        }
        let answer = self.pass_on(&head, &body);
        if !(self.watcher)(Moment::After, &seen) {
            return;
        }
        self.stall(back);
        if cut {
            let _ = client.shutdown(Shutdown::Both);
        } else if fate < weather.failures + weather.late_failures {
            let _ = client.write_all(FAILURE);
        } else {
            let _ = client.write_all(&answer);
        }
    }

    fn pass_on(&self, head: &str, body: &[u8]) -> Vec<u8> {
        let lines = head.split("\r\n").filter(|line| !line.is_empty());
        let kept: Vec<_> = lines.filter(|line| !line.to_ascii_lowercase().starts_with("connection:")).collect();
        let request = [kept.join("\r\n").as_bytes(), b"\r\nConnection: close\r\n\r\n", body].concat();
        let mut answer = Vec::new();
        let passed = TcpStream::connect(&self.target).and_then(|mut registry| {
            registry.set_nodelay(true)?;
            registry.write_all(&request)?;
            registry.read_to_end(&mut answer)
        });
        if passed.is_err() { BAD_GATEWAY.to_vec() } else { answer }
    }

    fn stall(&self, most: Duration) {
        let most = u64::try_from(most.as_micros()).unwrap_or(u64::MAX);
        if most > 0 {
            thread::sleep(Duration::from_micros(self.random() % most));
        }
    }

    fn random(&self) -> u64 {
        mix(self.seed.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::SeqCst))
    }
}

const FAILURE: &[u8] = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
const BAD_GATEWAY: &[u8] = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";

/// The next number of a splitmix64 generator in the state `seed`.
pub(crate) fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Reads a request whole: its head without the closing empty line, and its body.
fn read_request(client: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    client.set_read_timeout(Some(Duration::from_secs(60))).ok()?;
    let mut bytes = Vec::new();
    let mut chunk = [0; 16 * 1024];
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        let read = client.read(&mut chunk).ok().filter(|read| *read > 0 && bytes.len() < MAX_HEAD)?;
        bytes.extend_from_slice(&chunk[..read]);
    };
    let head = String::from_utf8(bytes[..end].to_vec()).ok()?;
    let mut body = bytes.split_off(end + 4);
    let length = head.split("\r\n").find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    while body.len() < length.unwrap_or(0) {
        let read = client.read(&mut chunk).ok().filter(|read| *read > 0)?;
        body.extend_from_slice(&chunk[..read]);
    }
    Some((head, body))
}
