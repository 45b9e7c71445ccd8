//! The manual: its pages, and where they lead.

use std::collections::BTreeMap;

use super::*;
use crate::http::Code;

/// What a page links to on this node.
fn targets(html: &str) -> Vec<&str> {
    html.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()).filter(|link| !link.contains(':')).collect()
}

async fn page(api: &Api, path: &str) -> String {
    let answer = api.answer(request(Method::GET, path, "")).await;
    assert_eq!(answer.status(), StatusCode::OK, "{path}");
    let policy = answer.headers().get("content-security-policy").expect("a policy").to_str().expect("ASCII");
    assert!(policy.starts_with("default-src 'none'; style-src 'self';"), "{path}: {policy}");
    let body = answer.into_body().collect().await.expect("a body").to_bytes();
    String::from_utf8(body.to_vec()).expect("UTF-8")
}

#[tokio::test]
async fn every_page_is_there_and_every_link_in_it_leads_to_a_heading() {
    // Nobody is asked for a token: the pages hold no secret.
    let api = Api::with_auth(&[]).await;
    let index = page(&api, "/docs").await;
    let pages: Vec<_> =
        targets(&index).into_iter().filter(|link| link.starts_with("/docs") && !link.contains('.')).collect();
    assert!(pages.len() > 10, "{pages:?}");
    for path in pages {
        let html = page(&api, path.split('#').next().expect("a path")).await;
        for target in targets(&html).into_iter().filter(|link| link.contains('#') && *link != "#main") {
            let (to, anchor) = target.split_once('#').expect("an anchor");
            let there = if to.is_empty() { html.clone() } else { page(&api, to).await };
            assert!(there.contains(&format!(" id=\"{anchor}\"")), "{path} leads to {target}");
        }
    }
    assert_eq!(api.get("/docs/none").await.code(), "route-not-found");
    assert_eq!(api.answer(request(Method::GET, "/docs/manual.js", "")).await.status(), StatusCode::OK);
    assert_eq!(api.answer(request(Method::GET, "/docs/manual.css", "")).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_search_looks_through_every_section_and_leads_to_it() {
    let api = Api::start().await;
    let answer = api.answer(request(Method::GET, "/docs/search.json", "")).await;
    let body = answer.into_body().collect().await.expect("a body").to_bytes();
    let sections: Vec<BTreeMap<String, String>> = serde_json::from_slice(&body).expect("sections");
    for section in &sections {
        let (to, anchor) = section["url"].split_once('#').expect("an anchor");
        assert!(page(&api, to).await.contains(&format!(" id=\"{anchor}\"")), "{section:?}");
    }
    let why = sections.iter().find(|section| section["url"] == "/docs/faq#why-does-my-stream-reconnect");
    let why = why.expect("a section of the questions");
    assert_eq!((&*why["page"], &*why["heading"]), ("Questions", "Why does my stream reconnect?"));
    assert!(why["text"].contains("raise the proxy's timeout beyond that."), "{why:?}");
}

#[tokio::test]
async fn every_code_leads_to_its_section() {
    let api = Api::start().await;
    let problems = page(&api, "/docs/problems").await;
    for code in Code::ALL.iter().map(|code| code.as_str()) {
        let answer = api.answer(request(Method::GET, &format!("/problems/{code}"), "")).await;
        assert_eq!(answer.status(), StatusCode::SEE_OTHER);
        assert_eq!(answer.headers()["location"], format!("/docs/problems#{code}"));
        assert!(problems.contains(&format!("<h2 id=\"{code}\">")), "{code}");
    }
    assert_eq!(api.get("/problems/none").await.code(), "route-not-found");
}
