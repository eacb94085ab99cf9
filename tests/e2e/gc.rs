//! The registry's own garbage collection, and what publishers clear away themselves.

use crate::image::tag_digest;
use crate::scene::REPOSITORY;
use crate::yard::Yard;

const MANIFEST: [(&str, &str); 1] = [("Accept", "application/vnd.oci.image.manifest.v1+json")];

#[test]
fn a_reader_one_head_behind_finds_every_blob_after_a_collection() {
    let mut yard = Yard::new(1);
    for number in 0..12 {
        let tag = format!("t{number}");
        yard.push(&tag, &tag);
        yard.owner.run(["sign", &yard.tag(&tag)]).ok();
    }
    let path = format!("/v2/{REPOSITORY}/manifests/trust.tuf");
    let behind = yard.registry.request("GET", &path, &MANIFEST, b"");
    let head: serde_json::Value = serde_json::from_slice(&behind.body).expect("a head is JSON");
    yard.push("next", "next");
    yard.owner.run(["sign", &yard.tag("next")]).ok();
    for untagged in [false, true] {
        yard.registry.collect_garbage(untagged);
        let layers = head["layers"].as_array().expect("a head has layers");
        // What only the head before it had is gone by now, and nobody reads that.
        for layer in layers.iter().filter(|layer| layer["annotations"]["vnd.boltseal.former"] != "true") {
            let digest = layer["digest"].as_str().expect("a layer has a digest");
            let blob = yard.registry.request("GET", &format!("/v2/{REPOSITORY}/blobs/{digest}"), &[], b"");
            assert_eq!(blob.status, 200, "{layer}");
            assert_eq!(crate::image::digest(&blob.body), digest);
        }
        yard.reader().run(["verify", &yard.tag("t0"), &yard.tag("next")]).ok();
        yard.owner.run(["sign", &yard.tag("t0")]).ok();
    }
}

#[test]
fn intents_and_heads_do_not_pile_up() {
    let mut yard = Yard::new(1);
    for number in 0..5 {
        let tag = format!("t{number}");
        yard.push(&tag, &tag);
        yard.owner.run(["sign", &yard.tag(&tag)]).ok();
    }
    assert_eq!(yard.intents().len(), 5);
    // A publisher that was killed left something that nobody can read as an intent of its own.
    yard.owner.run(["refresh", &yard.name()]).ok();
    assert_eq!(yard.intents().len(), 5, "an intent that counts still was removed");
    yard.owner.run_at("+2h", ["refresh", &yard.name()]).ok();
    assert_eq!(yard.intents(), Vec::<String>::new());
    yard.registry.collect_garbage(true);
    let reader = yard.reader();
    for number in 0..5 {
        reader.run(["verify", &yard.tag(&format!("t{number}"))]).ok();
    }
}

#[test]
fn what_lives_is_not_removed_under_the_tag_of_an_intent() {
    let yard = Yard::new(1);
    let image = yard.push("1.0", "an image");
    yard.owner.run(["sign", &yard.tag("1.0")]).ok();
    // Somebody who may push, and not delete, gives the image and the head tags that look like expired intents.
    let expired = |last: char| format!("trust.tuf.i-0000000001{}", last.to_string().repeat(22));
    for (tag, last) in [("1.0", 'a'), ("trust.tuf", 'b')] {
        let path = format!("/v2/{REPOSITORY}/manifests/{tag}");
        let manifest = yard.registry.request("GET", &path, &MANIFEST, b"").body;
        crate::image::put_manifest(&yard.registry, REPOSITORY, &expired(last), MANIFEST[0].1, &manifest);
    }
    yard.owner.run_at("+2h", ["refresh", &yard.name()]).ok();
    assert_eq!(tag_digest(&yard.registry, REPOSITORY, "1.0"), Some(image.digest()));
    yard.reader().run(["verify", &yard.tag("1.0")]).ok();
}
