//! A private certificate authority for one test.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};

/// An authority, the certificate of a server on loopback that it signed, and their files.
pub(crate) struct Authority {
    folder: PathBuf,
}

impl Authority {
    /// Makes `ca.crt`, `server.crt` and `server.key` in a folder that exists.
    pub(crate) fn create(folder: &Path) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names are valid names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "an authority made for one test");
        let ca_key = KeyPair::generate().expect("a key is made");
        let ca = params.self_signed(&ca_key).expect("an authority signs itself");
        let issuer = Issuer::new(params, ca_key);

        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).expect("the names of loopback are valid");
        params.distinguished_name.push(DnType::CommonName, "localhost");
        params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().expect("a key is made");
        let server = params.signed_by(&key, &issuer).expect("the authority signs");

        fs::write(folder.join("ca.crt"), ca.pem()).expect("a file in our folder is written");
        fs::write(folder.join("server.crt"), server.pem()).expect("a file in our folder is written");
        fs::write(folder.join("server.key"), key.serialize_pem()).expect("a file in our folder is written");
        Self { folder: folder.to_owned() }
    }

    /// The authority's certificate, which clients are told to trust.
    pub(crate) fn ca(&self) -> PathBuf {
        self.folder.join("ca.crt")
    }

    /// The server's certificate.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.join("server.crt")
    }

    /// The server's private key.
    pub(crate) fn key(&self) -> PathBuf {
        self.folder.join("server.key")
    }
}
