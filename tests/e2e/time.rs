//! What time does: expiry, refreshing, a clock that goes back.

use crate::scene::Scene;

#[test]
fn trust_data_that_nobody_refreshed_ends() {
    let scene = Scene::signed();
    let reader = scene.reader();
    reader.run_at("+13d", ["verify", &scene.tag("1.0")]).ok();
    reader.run_at("+15d", ["verify", &scene.tag("1.0")]).code(13).says("timestamp");
    scene.reader().run_at("+15d", ["verify", &scene.tag("1.0")]).code(13);
}

#[test]
fn refreshing_needs_the_online_keys_alone_and_keeps_readers_going() {
    let scene = Scene::signed();
    let reader = scene.reader();
    reader.run(["verify", &scene.tag("1.0")]).ok();
    scene.owner.run_at("+10d", ["refresh", &scene.name()]).ok();
    reader.run_at("+20d", ["verify", &scene.tag("1.0")]).ok().stdout_has(&scene.image.digest());
    reader.run_at("+25d", ["verify", &scene.tag("1.0")]).code(13);
}

#[test]
fn a_clock_that_went_back_is_noticed() {
    let scene = Scene::signed();
    let reader = scene.reader();
    reader.run_at("+5d", ["verify", &scene.tag("1.0")]).ok();
    reader.run(["verify", &scene.tag("1.0")]).code(13).says("clock");
}

#[test]
fn status_says_what_ends_when() {
    let scene = Scene::signed();
    let reader = scene.reader();
    let status = reader.run(["status", &scene.name()]).ok();
    status.says("root").says("targets").says("snapshot").says("timestamp");
}
