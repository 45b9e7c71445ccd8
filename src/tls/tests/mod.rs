//! Files of certificates, as they are and as they change.

pub(crate) mod authority;

use std::fs;
use std::path::Path;

use self::authority::{Authority, Files};
use super::{Acceptor, Mutual, MutualFiles, TlsError};

fn acceptor(files: &Files) -> Result<Acceptor, TlsError> {
    Acceptor::new(files.certificate.clone(), files.key.clone())
}

#[test]
fn files_that_can_not_be_used_are_refused_by_name() {
    let dir = tempfile::tempdir().expect("a directory");
    let authority = Authority::new();
    let files = authority.issue(dir.path(), "good", &["localhost"]);
    assert!(acceptor(&files).is_ok());
    let other = authority.issue(dir.path(), "other", &["localhost"]);
    let expired = authority.issue_until(dir.path(), "expired", &["localhost"], 2001);
    let large = dir.path().join("large.pem");
    fs::write(&large, vec![b'x'; 2 * 1024 * 1024]).expect("written");

    let refused = |certificate: &Path, key: &Path| {
        let files = Files { certificate: certificate.to_owned(), key: key.to_owned() };
        acceptor(&files).expect_err("it can't be used").to_string().replace(&dir.path().display().to_string(), "")
    };
    assert_eq!(refused(Path::new("/nowhere.pem"), &files.key), "/nowhere.pem can't be read");
    assert_eq!(refused(&files.certificate, Path::new("/nowhere.key")), "/nowhere.key can't be read");
    assert_eq!(refused(&large, &files.key), "/large.pem is larger than certificates and keys are");
    assert_eq!(refused(&files.key, &files.key), "/good.key holds no certificate in PEM that can be read");
    assert_eq!(
        refused(&files.certificate, &files.certificate),
        "/good.crt holds no private key in PEM that can be read; it may not be encrypted"
    );
    assert_eq!(
        refused(&files.certificate, &other.key),
        "the key in /other.key does not belong to the certificate in /good.crt"
    );
    assert_eq!(
        refused(&expired.certificate, &expired.key),
        "the certificate in /expired.crt has expired at 2001-01-01T00:00:00Z"
    );
    let text = fs::read_to_string(&files.certificate).expect("read");
    fs::write(&files.certificate, text.replace('A', "B")).expect("written");
    assert_eq!(refused(&files.certificate, &files.key), "/good.crt holds no certificate in PEM that can be read");
}

#[test]
fn a_node_whose_certificate_the_others_would_not_believe_does_not_start() {
    let dir = tempfile::tempdir().expect("a directory");
    let (ours, theirs) = (Authority::new(), Authority::new());
    let (authority, other) = (ours.publish(dir.path(), "ours"), theirs.publish(dir.path(), "theirs"));
    let files = ours.issue(dir.path(), "node", &["node1.example", "10.0.0.1"]);
    let mutual = |authority: &Path, host: &str| {
        let Files { certificate, key } = files.clone();
        Mutual::new(MutualFiles { certificate, key, authority: authority.to_owned() }, host.to_owned())
    };
    for host in ["node1.example", "10.0.0.1"] {
        mutual(&authority, host).expect("believed");
    }
    for (authority, host) in [(&authority, "node2.example"), (&authority, "10.0.0.2"), (&other, "node1.example")] {
        let refused = mutual(authority, host);
        assert!(matches!(refused, Err(TlsError::NotBelieved { .. })), "{host}: {refused:?}");
    }
    assert!(matches!(mutual(&authority, "node_1!"), Err(TlsError::Host { .. })));
    let error = mutual(&files.key, "10.0.0.1").expect_err("a key is no authority");
    assert!(matches!(error, TlsError::NoCertificate { path } if path == files.key));
}

#[test]
fn a_new_certificate_is_taken_if_it_can_be_used_and_else_the_old_one_stays() {
    let dir = tempfile::tempdir().expect("a directory");
    let authority = Authority::new();
    let files = authority.issue_until(dir.path(), "node", &["localhost"], 2100);
    let acceptor = acceptor(&files).expect("of use");
    let expires = || acceptor.expires().to_string();
    assert_eq!(expires(), "2100-01-01T00:00:00Z");

    let key = fs::read(&files.key).expect("read");
    authority.issue_until(dir.path(), "node", &["localhost"], 2050);
    let new_key = fs::read(&files.key).expect("read");
    fs::write(&files.key, key).expect("written");
    acceptor.reload();
    assert_eq!(expires(), "2100-01-01T00:00:00Z", "its key is that of the old one");
    fs::remove_file(&files.key).expect("removed");
    acceptor.reload();
    assert_eq!(expires(), "2100-01-01T00:00:00Z", "there is no key");
    fs::write(&files.key, new_key).expect("written");
    acceptor.reload();
    assert_eq!(expires(), "2050-01-01T00:00:00Z");
}
