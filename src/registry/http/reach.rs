//! Where a registry may send this client: redirects, upload locations, token realms.
//!
//! - Never from HTTPS to plain HTTP.
//! - Never from the outside in: a registry that is not on this machine may not point at it, nor a public one at a
//!   private address. Otherwise a hostile registry could make a gate talk to services that only the gate reaches,
//!   such as a cloud's metadata address.
//! - Literal addresses and `localhost` are judged; other names are the resolver's business.

use std::net::{IpAddr, Ipv6Addr};

use reqwest::Url;

use super::failure::authority;

/// How far in a host lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Zone {
    Public,
    Private,
    /// This machine, its link, and what stands for either.
    Near,
}

/// Whether two URLs name the same scheme, host and port; only then do credentials go along.
pub(super) fn same_origin(a: &Url, b: &Url) -> bool {
    a.scheme() == b.scheme() && a.host_str() == b.host_str() && a.port_or_known_default() == b.port_or_known_default()
}

/// Checks one step that `registry` asks this client to make, from `from` to `to`.
///
/// # Errors
/// Says what is wrong with the step, to follow "it points to".
pub(super) fn check_step(registry: &Url, from: &Url, to: &Url) -> Result<(), String> {
    let target = authority(to);
    match (from.scheme(), to.scheme()) {
        (_, "https") | ("http", "http") => {}
        ("https", "http") => return Err(format!("{target} by plain HTTP, and an HTTPS request may not leave HTTPS")),
        _ => return Err("something that is not HTTP".to_owned()),
    }
    if to.host_str() != registry.host_str() && zone(to) > zone(registry) {
        return Err(format!("{target}, an address inside that it has no business with"));
    }
    if !to.username().is_empty() || to.password().is_some() {
        return Err(format!("{target} with credentials inside the URL"));
    }
    Ok(())
}

/// Whether a URL's host can only be this machine.
pub(super) fn is_loopback(url: &Url) -> bool {
    match address(url) {
        Some(address) => unmapped(address).is_loopback(),
        None => is_localhost(url),
    }
}

fn zone(url: &Url) -> Zone {
    match address(url).map(unmapped) {
        Some(IpAddr::V4(v4)) => {
            let [a, b, ..] = v4.octets();
            if v4.is_loopback() || v4.is_link_local() || a == 0 || v4.is_broadcast() || v4.is_multicast() {
                Zone::Near
            } else if v4.is_private() || (a == 100 && b & 0xc0 == 64) {
                Zone::Private
            } else {
                Zone::Public
            }
        }
        Some(IpAddr::V6(v6)) => {
            if v6.is_loopback() || v6.is_unspecified() || v6.is_unicast_link_local() || v6.is_multicast() {
                Zone::Near
            } else if v6.is_unique_local() {
                Zone::Private
            } else {
                Zone::Public
            }
        }
        None if is_localhost(url) => Zone::Near,
        None => Zone::Public,
    }
}

fn is_localhost(url: &Url) -> bool {
    let name = url.host_str().unwrap_or_default().trim_end_matches('.');
    name == "localhost" || name.ends_with(".localhost")
}

/// The URL type has brought odd spellings (`0x7f.1`, `2130706433`) into the common form already.
fn address(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host).parse().ok()
}

/// The IPv4 address inside a mapped (`::ffff:0:0/96`) or translated (`64:ff9b::/96`) IPv6 address.
fn unmapped(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let [a, b, .., g, h] = v6.segments();
    let inner = Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, g, h).to_ipv4_mapped();
    match (v6.to_ipv4_mapped(), inner) {
        (Some(v4), _) => v4.into(),
        (None, Some(v4)) if (a, b) == (0x64, 0xff9b) => v4.into(),
        _ => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(registry: &str, to: &str) -> bool {
        let registry: Url = registry.parse().unwrap();
        check_step(&registry, &registry, &to.parse().unwrap()).is_ok()
    }

    #[test]
    fn a_registry_outside_may_not_point_inside() {
        for to in [
            "https://127.0.0.1/x",
            "https://127.9.9.9:1/x",
            "https://2130706433/x",
            "https://0x7f.1/x",
            "https://0/x",
            "https://localhost/x",
            "https://a.localhost./x",
            "https://169.254.169.254/latest",
            "https://10.1.2.3/x",
            "https://172.16.0.1/x",
            "https://192.168.1.1/x",
            "https://100.64.0.1/x",
            "https://[::1]/x",
            "https://[::]/x",
            "https://[::ffff:127.0.0.1]/x",
            "https://[::ffff:10.0.0.1]/x",
            "https://[64:ff9b::a9fe:a9fe]/x",
            "https://[fe80::1]/x",
            "https://[fd00::1]/x",
            "https://user:pass@cdn.example.com/x",
            "http://registry.example.com/x",
            "http://cdn.example.com/x",
            "ftp://cdn.example.com/x",
            "file:///etc/passwd",
        ] {
            assert!(!step("https://registry.example.com/v2/", to), "{to}");
        }
    }

    #[test]
    fn ordinary_steps_are_allowed() {
        assert!(step("https://registry.example.com/", "https://cdn.example.net/blob?sig=1"));
        assert!(step("https://registry.example.com/", "https://8.8.8.8/blob"));
        assert!(step("https://10.0.0.5/", "https://10.0.0.6/blob"));
        assert!(!step("https://10.0.0.5/", "https://127.0.0.1/blob"));
        assert!(step("http://127.0.0.1:5000/", "http://127.0.0.1:6000/blob"));
        assert!(step("http://127.0.0.1:5000/", "https://cdn.example.net/blob"));
    }
}
