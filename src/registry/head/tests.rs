use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::registry::memory::MemoryRepository;

fn files(list: &[(&str, &[u8])]) -> BTreeMap<String, Bytes> {
    list.iter().map(|(name, bytes)| ((*name).to_owned(), Bytes::copy_from_slice(bytes))).collect()
}

fn build(list: &[(&str, &[u8])], predecessor: Option<&Head>) -> Draft {
    Head::build(&files(list), &BTreeMap::new(), predecessor).unwrap()
}

/// Bytes that do not compress well, so that a gzipped file is more than its header.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        b'a' + u8::try_from(state >> 28).unwrap()
    })
    .take(length)
    .collect()
}

fn edit(draft: &Draft, change: impl FnOnce(&mut Value)) -> Result<Head, HeadError> {
    let mut body: Value = serde_json::from_slice(&draft.manifest).unwrap();
    change(&mut body);
    Head::parse(OCI_MANIFEST, body.to_string().as_bytes())
}

#[test]
fn a_head_is_read_as_it_was_built() {
    let large = noise(10_000);
    let hints = BTreeMap::from([("vnd.boltseal.collection".to_owned(), "h.x/a".to_owned())]);
    let input = files(&[("timestamp.json", b"t"), ("1.root.json", b"r"), ("7.targets.json", &large)]);
    let draft = Head::build(&input, &hints, None).unwrap();
    let head = Head::parse(OCI_MANIFEST, &draft.manifest).unwrap();
    assert_eq!(head, draft.head);
    assert_eq!(head.digest(), Digest::of(&draft.manifest));
    assert_eq!(head.annotations(), &hints);
    assert_eq!(head.file("1.root.json").unwrap().inline.as_deref(), Some(b"r".as_slice()));
    let targets = head.file("7.targets.json").unwrap();
    assert_eq!((targets.encoding, &targets.inline), (Encoding::Gzip, &None));
    let blob = draft.blobs.iter().find(|blob| Digest::of(blob) == targets.digest).unwrap();
    assert_eq!(targets.open(blob.clone(), 10_000).unwrap(), large);
}

#[test]
fn the_manifest_is_what_other_clients_expect() {
    let large = noise(5_000);
    let draft = build(&[("timestamp.json", b"t"), ("7.targets.json", &large)], None);
    let manifest: oci_spec::image::ImageManifest = serde_json::from_slice(&draft.manifest).unwrap();
    assert_eq!(manifest.artifact_type().as_ref().unwrap().to_string(), ARTIFACT_TYPE);
    assert_eq!(manifest.config().media_type(), &oci_spec::image::MediaType::EmptyJSON);
    let annotation = |at: usize, name: &str| manifest.layers()[at].annotations().as_ref().unwrap()[name].clone();
    assert_eq!(annotation(0, "org.opencontainers.image.title"), "timestamp.json");
    assert_eq!(annotation(1, "tuf.io/filename"), "7.targets.json");
    assert_eq!(annotation(1, "org.opencontainers.image.title"), "7.targets.json.gz");
    for blob in std::iter::once(manifest.config()).chain(manifest.layers()) {
        let held = draft.blobs.iter().find(|held| Digest::of(held).to_string() == blob.digest().to_string());
        assert_eq!(held.unwrap().len() as u64, blob.size());
    }
}

#[test]
fn equal_files_give_equal_bytes() {
    let large = noise(9_000);
    let list: &[(&str, &[u8])] = &[("timestamp.json", b"t"), ("2.root.json", b"2"), ("1.targets.json", &large)];
    assert_eq!(build(list, None).manifest, build(list, None).manifest);
    // The compressor is part of the format's promise: another one would change digests between two machines.
    assert_eq!(build(list, None).blobs, build(list, None).blobs);
}

#[test]
fn the_predecessors_files_are_listed_for_one_generation() {
    let first = build(&[("timestamp.json", b"t1"), ("1.root.json", b"r")], None);
    let second = build(&[("timestamp.json", b"t2"), ("1.root.json", b"r")], Some(&first.head));
    let former: Vec<_> = second.head.former().map(|layer| layer.digest).collect();
    assert_eq!(former, [Digest::of(b"t1")]);
    assert!(second.head.former().all(|layer| layer.inline.is_none()));
    assert_eq!(second.head.file("timestamp.json").unwrap().digest, Digest::of(b"t2"));
    let third = build(&[("timestamp.json", b"t3"), ("1.root.json", b"r")], Some(&second.head));
    let former: Vec<_> = third.head.former().map(|layer| layer.digest).collect();
    assert_eq!(former, [Digest::of(b"t2")]);
    assert_eq!(Head::parse(OCI_MANIFEST, &third.manifest).unwrap(), third.head);
}

#[test]
fn what_everyone_needs_is_inlined_first() {
    let body = vec![b'x'; INLINE_MAX];
    let mut input: BTreeMap<String, Bytes> = (0..400)
        .map(|n| (format!("1.{n:04}.json"), Bytes::from([body.as_slice(), &[0]].concat()[1..].to_vec())))
        .collect();
    for name in ["timestamp.json", "9.snapshot.json", "1.root.json", "10.root.json", "3.targets.json"] {
        input.insert(name.to_owned(), Bytes::from(body.clone()));
    }
    let head = Head::build(&input, &BTreeMap::new(), None).unwrap().head;
    let names: Vec<_> = head.files().take(6).map(|layer| layer.name.as_str()).collect();
    let expected =
        ["timestamp.json", "9.snapshot.json", "10.root.json", "1.root.json", "3.targets.json", "1.0000.json"];
    assert_eq!(names, expected);
    assert!(head.files().take(6).all(|layer| layer.inline.is_some()));
    assert_eq!(head.file("1.0399.json").unwrap().inline, None);
}

#[test]
fn foreign_manifests_are_told_from_broken_heads() {
    let draft = build(&[("timestamp.json", b"t")], None);
    let foreign = |result| assert!(matches!(result, Err(HeadError::Foreign { .. })), "{result:?}");
    foreign(Head::parse("application/vnd.oci.image.index.v1+json", &draft.manifest));
    foreign(edit(&draft, |body| body["artifactType"] = json!("application/other")));
    foreign(edit(&draft, |body| body["artifactType"] = Value::Null));
    foreign(edit(&draft, |body| body["mediaType"] = json!("application/other")));
    let malformed = |result| assert!(matches!(result, Err(HeadError::Malformed(_))), "{result:?}");
    malformed(Head::parse(OCI_MANIFEST, b"{"));
    malformed(edit(&draft, |body| body["schemaVersion"] = json!(1)));
    malformed(edit(&draft, |body| body["layers"][0]["digest"] = json!("sha256:zz")));
    malformed(edit(&draft, |body| body["layers"][0]["data"] = json!("%%%")));
}

#[test]
fn unknown_members_and_layers_are_ignored() {
    let draft = build(&[("timestamp.json", b"t")], None);
    let head = edit(&draft, |body| {
        body["x"] = json!({"y": 1});
        let other = json!({"mediaType": "a/b", "digest": "sha512:0", "size": 1, "platform": {}});
        body["layers"].as_array_mut().unwrap().push(other);
    });
    assert_eq!(head.unwrap().files().count(), 1);
}

#[test]
fn lies_in_a_head_are_refused() {
    let draft = build(&[("timestamp.json", b"t")], None);
    let lie = edit(&draft, |body| body["layers"][0]["data"] = json!(STANDARD.encode(b"u")));
    assert!(matches!(lie, Err(HeadError::Mismatch { .. })), "{lie:?}");
    let length = edit(&draft, |body| body["layers"][0]["size"] = json!(2));
    assert!(matches!(length, Err(HeadError::Mismatch { .. })), "{length:?}");
    let twice = edit(&draft, |body| {
        let layer = body["layers"][0].clone();
        body["layers"].as_array_mut().unwrap().push(layer);
    });
    assert_eq!(twice, Err(HeadError::Twice("timestamp.json".to_owned())));
    for name in
        ["", ".json", "../x.json", "a/b.json", "x.txt", "x.json\0", "é.json", &format!("{}.json", "x".repeat(300))]
    {
        let renamed = edit(&draft, |body| body["layers"][0]["annotations"]["tuf.io/filename"] = json!(name));
        assert!(matches!(renamed, Err(HeadError::Name(_))), "{name}");
        assert!(Head::build(&files(&[(name, b"x")]), &BTreeMap::new(), None).is_err(), "{name}");
    }
    let many =
        edit(&draft, |body| body["layers"] = json!(vec![json!({"mediaType": "", "digest": "", "size": 0}); 20_001]));
    assert!(matches!(many, Err(HeadError::TooMuch { .. })), "{many:?}");
    let large = vec![b' '; 4 * 1024 * 1024 + 1];
    assert!(matches!(Head::parse(OCI_MANIFEST, &large), Err(HeadError::TooMuch { .. })));
}

/// A head with one gzipped file whose blob is `blob`, and the layer of that file.
fn with_blob(blob: &[u8]) -> Layer {
    let draft = build(&[("1.targets.json", &noise(5_000))], None);
    let head = edit(&draft, |body| {
        body["layers"][0]["digest"] = json!(Digest::of(blob));
        body["layers"][0]["size"] = json!(blob.len());
    });
    head.unwrap().file("1.targets.json").unwrap().clone()
}

#[test]
fn a_bomb_stops_at_what_the_caller_accepts() {
    let draft = build(&[("1.targets.json", &vec![b'0'; 50 * 1024 * 1024])], None);
    let layer = draft.head.file("1.targets.json").unwrap();
    assert!(layer.size < 100_000);
    let error = layer.open(draft.blobs[1].clone(), 1_000_000).unwrap_err();
    assert!(matches!(error, HeadError::TooMuch { .. }), "{error}");
}

#[test]
fn only_one_whole_gzip_stream_is_a_file() {
    let draft = build(&[("1.targets.json", &noise(5_000))], None);
    let good = draft.blobs[1].to_vec();
    for bad in [
        [good.as_slice(), b"x"].concat(),
        [good.as_slice(), good.as_slice()].concat(),
        good[..good.len() - 1].to_vec(),
        b"no gzip".to_vec(),
        Vec::new(),
    ] {
        let error = with_blob(&bad).open(bad.clone().into(), 1_000_000).unwrap_err();
        assert!(matches!(error, HeadError::Gzip { .. }), "{error}");
    }
    let mut flipped = good.clone();
    let at = flipped.len() - 6;
    flipped[at] ^= 1;
    assert!(with_blob(&flipped).open(flipped.clone().into(), 1_000_000).is_err(), "the checksum of the stream counts");
    let error = with_blob(&good).open(flipped.into(), 1_000_000).unwrap_err();
    assert!(matches!(error, HeadError::Mismatch { .. }), "{error}");
}

#[tokio::test]
async fn a_reader_fetches_only_what_is_not_inlined() {
    let large = noise(9_000);
    let draft = build(&[("timestamp.json", b"t"), ("1.targets.json", &large)], None);
    let repository = MemoryRepository::new("memory/a");
    for blob in &draft.blobs {
        repository.put_blob(blob.clone()).await.unwrap();
    }
    repository.take_calls();
    let head = Head::parse(OCI_MANIFEST, &draft.manifest).unwrap();
    assert_eq!(read(&repository, &head, "timestamp.json", 10).await.unwrap().unwrap(), b"t".as_slice());
    assert!(repository.take_calls().is_empty());
    assert_eq!(read(&repository, &head, "1.targets.json", 9_000).await.unwrap().unwrap(), large);
    assert_eq!(read(&repository, &head, "2.targets.json", 9_000).await.unwrap(), None);
    assert!(matches!(read(&repository, &head, "1.targets.json", 8_999).await, Err(Error::TooMuch { .. })));
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Head::parse(OCI_MANIFEST, &bytes);
        let layer = with_blob(&bytes);
        let _ = layer.open(bytes.into(), 1_000);
    }

    #[test]
    fn every_file_comes_back(sizes in proptest::collection::vec(0_usize..20_000, 1..6)) {
        let input: BTreeMap<String, Bytes> =
            sizes.iter().enumerate().map(|(at, size)| (format!("{at}.r%2F.json"), noise(*size).into())).collect();
        let draft = Head::build(&input, &BTreeMap::new(), None).unwrap();
        let head = Head::parse(OCI_MANIFEST, &draft.manifest).unwrap();
        for (name, file) in &input {
            let layer = head.file(name).unwrap();
            let blob = draft.blobs.iter().find(|blob| Digest::of(blob) == layer.digest).unwrap();
            prop_assert_eq!(&layer.open(blob.clone(), file.len() as u64).unwrap(), file);
        }
    }
}
