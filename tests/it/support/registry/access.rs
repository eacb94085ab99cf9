//! Who may do what at the test registry, and its token endpoint.

use std::collections::HashSet;

use axum::http::{Method, header};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;
use serde_json::json;

use super::Auth;
use super::answers::{error, json_answer, with};
use super::asked::{Asked, Route};
use super::state::State;

pub(super) fn refuse(state: &State, asked: &Asked<'_>, route: &Route<'_>) -> Option<Response> {
    let action = match asked.method {
        Method::GET | Method::HEAD => "pull",
        Method::DELETE => "delete",
        _ => "push",
    };
    let given = asked.header(header::AUTHORIZATION).unwrap_or_default();
    let manners = &state.manners;
    let (allowed, challenge) = match &manners.auth {
        Auth::None => (true, "Basic realm=\"test\"".to_owned()),
        Auth::Basic { user, password } => (given == basic(user, password), "Basic realm=\"test\"".to_owned()),
        Auth::Bearer { .. } => {
            let held = given.strip_prefix("Bearer ").and_then(|token| state.tokens.get(token));
            let allowed = held.is_some_and(|(r, actions)| *r == route.repository && actions.contains(action));
            let realm = manners.realm.clone().unwrap_or_else(|| format!("{}/token", asked.base));
            let scope = format!("repository:{}:{action}", route.repository);
            (allowed, format!("Bearer realm=\"{realm}\",service=\"test\",scope=\"{scope}\""))
        }
    };
    (manners.refuse_all || !allowed)
        .then(|| with(error(401, "UNAUTHORIZED", "authentication required"), header::WWW_AUTHENTICATE, &challenge))
}

pub(super) fn token(state: &mut State, asked: &Asked<'_>) -> Response {
    if let Some(status) = state.manners.token_status {
        return error(status, "TOKEN", "no tokens today");
    }
    let Auth::Bearer { user, password, anonymous_pull } = state.manners.auth.clone() else {
        return error(404, "NOT_FOUND", "no tokens here");
    };
    let form: Vec<(String, String)> = if asked.method == Method::POST {
        let text = String::from_utf8_lossy(&asked.body);
        Url::parse(&format!("http://form/?{text}")).unwrap().query_pairs().into_owned().collect()
    } else {
        asked.query.clone()
    };
    let field = |name: &str| form.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
    let given = asked.header(header::AUTHORIZATION);
    let known = given == Some(basic(&user, &password).as_str())
        || (asked.method == Method::POST && field("refresh_token") == Some(&format!("refresh-{password}")));
    if !known && (given.is_some() || asked.method == Method::POST || !anonymous_pull) {
        return error(401, "UNAUTHORIZED", "incorrect username or password");
    }
    let Some(("repository", rest)) = field("scope").and_then(|scope| scope.split_once(':')) else {
        return error(400, "SCOPE", "no scope");
    };
    let (repository, actions) = rest.rsplit_once(':').unwrap();
    let actions: HashSet<String> = actions.split(',').filter(|a| known || *a == "pull").map(str::to_owned).collect();
    state.counter += 1;
    let token = format!("token-{}", state.counter);
    state.tokens.insert(token.clone(), (repository.to_owned(), actions));
    let padding = "x".repeat(state.manners.token_padding);
    // Real endpoints differ in the member's name; so does this one.
    let name = if asked.method == Method::POST { "access_token" } else { "token" };
    json_answer(200, &json!({name: token, "expires_in": state.manners.token_life, "padding": padding}))
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}
