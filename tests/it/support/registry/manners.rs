//! The switches of the test registry.

use std::time::Duration;

/// How the registry behaves. The default is a well-behaved current registry.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is one switch")]
pub struct Manners {
    /// Whether it has the referrers API.
    pub referrers: bool,
    /// Whether it sends `ETag` and answers `If-None-Match` with 304.
    pub etag: bool,
    /// Whether it honours `If-Match` on PUT (412). Off, as in every real registry, unless switched on.
    pub if_match: bool,
    /// Whether manifests can be deleted; otherwise 405.
    pub delete: bool,
    /// Whether an existing tag refuses to move.
    pub immutable_tags: bool,
    /// Who may do what.
    pub auth: Auth,
    /// Refuses every request with 401, whatever credentials it brings.
    pub refuse_all: bool,
    /// A number of requests that are answered with an error first.
    pub busy: Option<Busy>,
    /// Where requests of a kind are redirected to: the URL, to which the request's path is added if it ends in `*`.
    pub redirect: Option<(Target, String)>,
    /// What is suddenly not there any more: the end of a path.
    pub gone: Option<String>,
    /// How answers with a body are spoilt.
    pub cheat: Option<(Target, Cheat)>,
    /// Time before each answer.
    pub delay: Duration,
    /// Largest page of `tags/list`; none ignores `n` and `last` as distribution 2.8.2 does.
    pub page: Option<usize>,
    /// A `Link: <...>; rel="next"` that `tags/list` sends with every page instead of the honest one.
    pub next_link: Option<String>,
    /// What `POST .../uploads/` answers as location.
    pub upload: Upload,
    /// Realm of the bearer challenge, if not the registry's own token endpoint.
    pub realm: Option<String>,
    /// Life of its tokens as it tells the client, in seconds.
    pub token_life: u64,
    /// Bytes of padding in a token endpoint's answer.
    pub token_padding: usize,
    /// Answer to every request for a token: status, where not 200.
    pub token_status: Option<u16>,
}

impl Default for Manners {
    fn default() -> Self {
        Self {
            referrers: true,
            etag: true,
            if_match: false,
            delete: true,
            immutable_tags: false,
            auth: Auth::None,
            refuse_all: false,
            busy: None,
            redirect: None,
            gone: None,
            cheat: None,
            delay: Duration::ZERO,
            page: None,
            next_link: None,
            upload: Upload::Relative,
            realm: None,
            token_life: 300,
            token_padding: 0,
            token_status: None,
        }
    }
}

/// Who may do what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auth {
    /// Everybody everything.
    None,
    /// A user and password with every request.
    Basic {
        /// User.
        user: String,
        /// Password.
        password: String,
    },
    /// Tokens from `/token` (`/oauth2/token` does the same by POST for the refresh token `refresh-<password>`).
    Bearer {
        /// User.
        user: String,
        /// Password.
        password: String,
        /// Whether anybody gets a token for pulling.
        anonymous_pull: bool,
    },
}

impl Auth {
    /// Basic authentication.
    pub fn basic(user: &str, password: &str) -> Self {
        Self::Basic { user: user.to_owned(), password: password.to_owned() }
    }

    /// Bearer tokens, for this user alone.
    pub fn bearer(user: &str, password: &str) -> Self {
        Self::Bearer { user: user.to_owned(), password: password.to_owned(), anonymous_pull: false }
    }
}

/// Requests that are answered with an error before the rest are answered well.
#[derive(Debug, Clone)]
pub struct Busy {
    /// How many; each one counts down.
    pub requests: u32,
    /// The status.
    pub status: u16,
    /// `Retry-After`, verbatim.
    pub retry_after: Option<String>,
}

/// Which requests a manner concerns. Tokens are never meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// `GET` and `HEAD` of manifests.
    Manifests,
    /// `GET` and `HEAD` of blobs.
    Blobs,
    /// `tags/list`.
    Tags,
    /// The referrers API.
    Referrers,
    /// All of them.
    All,
}

/// How an answer with a body is spoilt.
#[derive(Debug, Clone)]
pub enum Cheat {
    /// Bytes without end and without length.
    Endless,
    /// One byte, a pause, one byte, without end.
    Drip(Duration),
    /// The beginning, then silence.
    Hang,
    /// `Content-Length` promises that many bytes more than come; the connection then ends.
    Short(u64),
    /// A `Content-Length` of that many bytes, and a body that never comes.
    Claims(u64),
    /// `Docker-Content-Digest` says this instead.
    DigestHeader(String),
    /// `Content-Encoding` says this.
    Encoding(String),
    /// Other bytes than asked for, under the honest headers of those.
    Bytes(Vec<u8>),
    /// Each request in turn gets the next of these bodies, over and over.
    Alternate(Vec<Vec<u8>>),
    /// No `Content-Length`: chunks.
    NoLength,
}

/// The location that an upload is sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upload {
    /// A path.
    Relative,
    /// A URL of this registry, with a query.
    Absolute,
    /// This URL.
    Elsewhere(String),
    /// None at all.
    Missing,
}
