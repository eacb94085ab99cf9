//! Every cap on what comes from outside, in one place, each with the attack that it stops.

/// Caps on metadata. All sizes are in bytes of the plain (inflated) file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest root file (TUF 5.3.3, endless data).
    pub root: u64,
    /// Largest timestamp file (TUF 5.4.1, endless data).
    pub timestamp: u64,
    /// Largest snapshot file where the timestamp gives no length (TUF 5.5.1, endless data).
    pub snapshot: u64,
    /// Largest targets file, delegated or not, where the snapshot gives no length (TUF 5.6.1, endless data).
    pub targets: u64,
    /// Most root versions walked in one run (TUF 5.3.3, endless rotations).
    pub root_rotations: u32,
    /// Most delegated roles visited in the search for one target (TUF 5.6.7.1, endless delegations).
    pub delegated_roles: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            root: 512_000,
            timestamp: 16_384,
            snapshot: 4 << 20,
            targets: 16 << 20,
            root_rotations: 1024,
            delegated_roles: 32,
        }
    }
}

/// Deepest nesting inside `signed`: stack exhaustion by nested arrays.
pub const MAX_DEPTH: usize = 32;
/// Most members of an envelope, ours and unknown ones: time spent on finding that none is there twice.
pub const MAX_MEMBERS: usize = 16;
/// Most signatures in one file: time spent on a list of a million (python-tuf CVE-2020-6173).
pub const MAX_SIGNATURES: usize = 1024;
/// Most keys in one file: the same.
pub const MAX_KEYS: usize = 4096;
/// Most delegated roles listed in one file: the same.
pub const MAX_DELEGATIONS: usize = 16_384;
/// Longest signature, in bytes: no scheme that we verify needs more than RSA-8192.
pub const MAX_SIGNATURE: usize = 1024;
