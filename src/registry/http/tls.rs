//! TLS settings: one rustls with the ring provider, and whose certificates are believed.
//!
//! - A host with a CA of its own (`--ca`, or `*.crt` in its `certs.d` folder) is believed by that CA alone.
//! - Every other HTTPS host is judged by the platform's verifier, which costs milliseconds and is built only then.
//! - A `certs.d` folder is docker's: `<dir>/<host[:port]>/*.crt`, and `*.cert` with the `*.key` of the same name to
//!   present to the registry.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

/// Whether a registry's certificate is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Certificates {
    /// Against the CA given for the host, else the platform's.
    #[default]
    Verify,
    /// Not at all (`--insecure-tls`): anybody on the way can read credentials and withhold updates.
    UnsafeIgnore,
}

/// What lies on disk for one host: its CAs, and the certificate to present to it.
#[derive(Debug, Default)]
pub(super) struct HostFiles {
    pub(super) authorities: Vec<PathBuf>,
    pub(super) identity: Option<(PathBuf, PathBuf)>,
}

/// Settings that can make no TLS connection, for clients of plain HTTP.
pub(super) fn none() -> Result<ClientConfig, String> {
    Ok(builder()?.with_root_certificates(RootCertStore::empty()).with_no_client_auth())
}

/// Settings for a host with those files.
///
/// # Errors
/// Names the file that cannot be read, or is not what it should be.
pub(super) fn settings(files: &HostFiles, extra: &[PathBuf], trust: Certificates) -> Result<ClientConfig, String> {
    let builder = builder()?;
    let provider = builder.crypto_provider().clone();
    let builder = if trust == Certificates::UnsafeIgnore {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Unchecked(provider)))
    } else if files.authorities.is_empty() {
        let platform = rustls_platform_verifier::Verifier::new_with_extra_roots(certificates(extra)?, provider)
            .map_err(|e| format!("the platform's certificates cannot be used: {e}"))?;
        builder.dangerous().with_custom_certificate_verifier(Arc::new(platform))
    } else {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&files.authorities)? {
            roots.add(certificate).map_err(|e| format!("a CA certificate cannot be used: {e}"))?;
        }
        builder.with_root_certificates(roots)
    };
    let mut settings = match &files.identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = certificates(std::slice::from_ref(certificate))?;
            let secret = PrivateKeyDer::from_pem_file(key)
                .map_err(|_| format!("`{}` holds no private key in PEM", key.display()))?;
            builder
                .with_client_auth_cert(chain, secret)
                .map_err(|e| format!("`{}` cannot be presented: {e}", certificate.display()))?
        }
    };
    settings.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(settings)
}

/// The folders among `folders` that are for `host`.
pub(super) fn host_folders(folders: &[PathBuf], host: &str) -> Vec<PathBuf> {
    folders.iter().map(|folder| folder.join(host)).filter(|folder| folder.is_dir()).collect()
}

/// The files for a host in its `certs.d` folders.
///
/// # Errors
/// Names the folder that cannot be read, or the certificate without its key.
pub(super) fn host_files(folders: &[PathBuf]) -> Result<HostFiles, String> {
    let mut files = HostFiles::default();
    for folder in folders {
        let unreadable = |e: std::io::Error| format!("`{}` cannot be read: {e}", folder.display());
        let mut entries =
            fs::read_dir(folder).map_err(unreadable)?.collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for path in entries.into_iter().map(|entry| entry.path()) {
            match path.extension().and_then(|e| e.to_str()) {
                Some("crt") => files.authorities.push(path),
                Some("cert") => {
                    let key = path.with_extension("key");
                    if !key.is_file() {
                        return Err(format!("`{}` has no `{}` beside it", path.display(), key.display()));
                    }
                    files.identity.get_or_insert((path, key));
                }
                _ => {}
            }
        }
    }
    Ok(files)
}

fn builder() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, String> {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| format!("TLS cannot be set up: {e}"))
}

fn certificates(files: &[PathBuf]) -> Result<Vec<CertificateDer<'static>>, String> {
    let mut all = Vec::new();
    for file in files {
        let found = read_certificates(file)?;
        if found.is_empty() {
            return Err(format!("`{}` holds no certificate in PEM", file.display()));
        }
        all.extend(found);
    }
    Ok(all)
}

fn read_certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(|e| format!("`{}` cannot be read as certificates in PEM: {e}", file.display()))
}

/// Believes every certificate; the handshake must still be signed by its key.
#[derive(Debug)]
struct Unchecked(Arc<CryptoProvider>);

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_gives_cas_and_a_certificate_with_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("r.example.com:5000");
        fs::create_dir(&own).unwrap();
        let made = rcgen::generate_simple_self_signed(["client".to_owned()]).unwrap();
        for name in ["ca.crt", "client.cert", "ignored.txt"] {
            fs::write(own.join(name), made.cert.pem()).unwrap();
        }
        let folders = [folder.path().to_owned(), folder.path().join("absent")];
        assert!(host_folders(&folders, "r.example.com").is_empty());
        let found = host_folders(&folders, "r.example.com:5000");
        assert!(host_files(&found).unwrap_err().contains("client.key"));
        fs::write(own.join("client.key"), made.signing_key.serialize_pem()).unwrap();
        let files = host_files(&found).unwrap();
        assert_eq!(files.authorities, [own.join("ca.crt")]);
        let ready = settings(&files, &[], Certificates::Verify).unwrap();
        assert!(ready.client_auth_cert_resolver.has_certs());
        fs::write(own.join("client.key"), "sesame").unwrap();
        let error = settings(&files, &[], Certificates::Verify).unwrap_err();
        assert!(error.contains("client.key") && !error.contains("sesame"), "{error}");
    }
}
