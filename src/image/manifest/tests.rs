use serde_json::{Value, json};

use super::*;

fn parse(media_type: &str, body: &Value) -> Result<Manifest, ManifestError> {
    Manifest::parse(media_type, body.to_string().into())
}

fn descriptor(media_type: &str) -> Value {
    json!({"mediaType": media_type, "digest": Digest::of(media_type.as_bytes()), "size": 3})
}

fn image(config: &str) -> Value {
    json!({"schemaVersion": 2, "config": descriptor(config), "layers": [descriptor("application/x")]})
}

#[test]
fn images_of_both_kinds_are_read() {
    for (media_type, config) in [
        (OCI_MANIFEST, OCI_CONFIG),
        (DOCKER_MANIFEST, DOCKER_CONFIG),
        (OCI_MANIFEST, DOCKER_CONFIG),
        (DOCKER_MANIFEST, "application/octet-stream"),
    ] {
        let mut body = image(config);
        let bare = parse(media_type, &body).unwrap();
        assert!(matches!(&bare.kind, Kind::Image { layers, .. } if layers.len() == 1), "{media_type}");
        body["mediaType"] = json!(media_type);
        assert_eq!(parse(media_type, &body).unwrap().media_type, media_type);
    }
}

#[test]
fn an_image_without_layers_may_say_null() {
    let mut body = image(OCI_CONFIG);
    body["layers"] = Value::Null;
    body["annotations"] = Value::Null;
    assert!(matches!(parse(OCI_MANIFEST, &body).unwrap().kind, Kind::Image { layers, .. } if layers.is_empty()));
}

#[test]
fn an_index_lists_images_and_attestations_alike() {
    let mut arm = descriptor(OCI_MANIFEST);
    arm["platform"] = json!({"os": "linux", "architecture": "arm64", "variant": "v8"});
    let mut attestation = descriptor(OCI_MANIFEST);
    attestation["platform"] = json!({"os": "unknown", "architecture": "unknown"});
    attestation["annotations"] = json!({"vnd.docker.reference.type": "attestation-manifest"});
    let index = parse(OCI_INDEX, &json!({"schemaVersion": 2, "manifests": [arm, attestation]})).unwrap();
    assert_eq!(index.children().len(), 2);
    assert_eq!(index.children()[0].platform.as_ref().unwrap().to_string(), "linux/arm64/v8");
    assert!(index.children()[1].annotations.contains_key("vnd.docker.reference.type"));
    assert!(parse(DOCKER_LIST, &json!({"schemaVersion": 2, "manifests": []})).unwrap().children().is_empty());
}

#[test]
fn schema_1_is_refused_under_every_name() {
    let body = json!({"schemaVersion": 1, "name": "x", "fsLayers": []});
    for media_type in [
        "application/vnd.docker.distribution.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
        "application/json",
        OCI_MANIFEST,
    ] {
        assert_eq!(parse(media_type, &body), Err(ManifestError::Schema1), "{media_type}");
    }
}

#[test]
fn artifacts_are_no_images_but_may_travel_with_one() {
    let helm = image("application/vnd.cncf.helm.config.v1+json");
    let error = parse(OCI_MANIFEST, &helm).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the manifest is no image: it is an artifact of type `application/vnd.cncf.helm.config.v1+json`"
    );
    let mut typed = image(OCI_CONFIG);
    typed["artifactType"] = json!("application/vnd.x");
    assert_eq!(parse(OCI_MANIFEST, &typed), Err(ManifestError::Artifact("application/vnd.x".to_owned())));
    let typed_index = json!({"schemaVersion": 2, "artifactType": "application/vnd.x", "manifests": []});
    assert_eq!(parse(OCI_INDEX, &typed_index), Err(ManifestError::Artifact("application/vnd.x".to_owned())));
    let object = Manifest::parse_object(OCI_MANIFEST, helm.to_string().into()).unwrap();
    assert_eq!(object.artifact_type.as_deref(), Some("application/vnd.cncf.helm.config.v1+json"));
}

#[test]
fn what_two_readers_could_take_for_two_things_is_refused() {
    let with = |name: &str, value: Value| {
        let mut body = image(OCI_CONFIG);
        body[name] = value;
        body
    };
    let index = json!({"schemaVersion": 2, "manifests": [], "layers": []});
    for (media_type, body) in [
        (OCI_MANIFEST, with("mediaType", json!(DOCKER_MANIFEST))),
        (OCI_MANIFEST, with("manifests", json!([]))),
        (OCI_INDEX, with("manifests", json!([]))),
        (OCI_INDEX, index),
    ] {
        let error = parse(media_type, &body).unwrap_err();
        assert!(matches!(error, ManifestError::Contradiction { .. }), "{body}: {error}");
    }
    for name in ["Manifests", "manifest\u{17f}", "LAYERS", "mediatype"] {
        let error = parse(OCI_MANIFEST, &with(name, json!([]))).unwrap_err();
        assert!(matches!(error, ManifestError::Malformed(_)), "{name}: {error}");
    }
    let twice = image(OCI_CONFIG).to_string().replacen('{', r#"{"x":1,"x":2,"#, 1);
    let error = Manifest::parse(OCI_MANIFEST, twice.into()).unwrap_err();
    assert!(error.to_string().contains("stands twice"), "{error}");
}

#[test]
fn malformed_bodies_are_refused() {
    let bad_digest = json!({"mediaType": OCI_CONFIG, "digest": "sha512:00", "size": 1});
    let negative = json!({"mediaType": OCI_CONFIG, "digest": Digest::of(b""), "size": -1});
    for body in [
        json!({}),
        json!({"schemaVersion": 2}),
        json!({"schemaVersion": 3, "config": descriptor(OCI_CONFIG)}),
        json!({"config": descriptor(OCI_CONFIG), "layers": []}),
        json!({"schemaVersion": 2, "config": bad_digest}),
        json!({"schemaVersion": 2, "config": negative}),
        json!([1]),
        json!("x"),
    ] {
        assert!(matches!(parse(OCI_MANIFEST, &body), Err(ManifestError::Malformed(_))), "{body}");
    }
    assert!(matches!(parse("text/html", &image(OCI_CONFIG)), Err(ManifestError::MediaType(_))));
    assert!(Manifest::parse(OCI_MANIFEST, Bytes::from_static(b"{\"schemaVersion\":")).is_err());
}

#[test]
fn everything_is_capped() {
    let many = vec![descriptor(OCI_MANIFEST); MAX_CHILDREN + 1];
    let error = parse(OCI_INDEX, &json!({"schemaVersion": 2, "manifests": many})).unwrap_err();
    assert_eq!(error, ManifestError::TooMuch { what: "children", got: 1001, limit: 1000 });
    let mut body = image(OCI_CONFIG);
    body["layers"] = json!(vec![descriptor("application/x"); MAX_IMAGE_LAYERS + 1]);
    assert!(matches!(parse(OCI_MANIFEST, &body), Err(ManifestError::TooMuch { what: "layers", .. })));
    let large = vec![b' '; 4 * 1024 * 1024 + 1];
    assert!(matches!(Manifest::parse(OCI_MANIFEST, large.into()), Err(ManifestError::TooMuch { .. })));
}

#[test]
fn the_type_is_guessed_only_from_bodies_that_are_manifests() {
    assert_eq!(guess_media_type(image(OCI_CONFIG).to_string().as_bytes()).as_deref(), Some(OCI_MANIFEST));
    assert_eq!(guess_media_type(br#"{"schemaVersion":2,"manifests":[]}"#).as_deref(), Some(OCI_INDEX));
    assert_eq!(guess_media_type(br#"{"architecture":"amd64","config":{},"rootfs":{}}"#), None);
}
