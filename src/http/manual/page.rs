//! A page of the manual: Markdown in, HTML out.

use std::path::{Component, Path, PathBuf};

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd, html::push_html};

use super::{HOME, PAGES, Page, all};

/// A heading: its level, its text, and the name by which links reach it.
pub(super) type Heading = (HeadingLevel, String, String);

/// The whole page that a file of the repository makes.
pub(super) fn html(file: &str, text: &str) -> String {
    let (events, headings) = parsed(file, text);
    let mut main = String::new();
    push_html(&mut main, events.into_iter());
    // The policy of a page takes no style from an attribute.
    let main = main.replace(" style=\"text-align: right\"", " class=\"figure\"");
    let sections: String = headings
        .iter()
        .filter(|(level, ..)| *level == HeadingLevel::H2)
        .map(|(_, text, anchor)| format!("<li><a href=\"#{anchor}\">{}</a></li>\n", escaped(text)))
        .collect();
    let pages: String = PAGES.iter().map(|page| entry(page, file)).collect();
    format!(
        r##"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title} · repl</title>
<link rel="icon" href="/console/icon.svg">
<link rel="stylesheet" href="/docs/manual.css">
<script type="module" src="/docs/manual.js"></script>
</head>
<body>
<a class="skip" href="#main">Skip to content</a>
<header>
<p><strong>repl</strong> {version}</p>
<nav aria-label="Pages"><ul>
{pages}</ul></nav>
</header>
<nav class="sections" aria-label="On this page"><ul>
{sections}</ul></nav>
<main id="main" tabindex="-1">
{main}</main>
</body>
</html>
"##,
        title = escaped(title(text)),
        version = env!("CARGO_PKG_VERSION"),
    )
}

/// What a page says, with links that lead on and headings that have names, and these headings.
pub(super) fn parsed<'a>(file: &'a str, text: &'a str) -> (Vec<Event<'a>>, Vec<Heading>) {
    let mut events: Vec<_> = led_on(file, Parser::new_ext(text, Options::ENABLE_TABLES)).collect();
    let headings = name_headings(&mut events);
    (events, headings)
}

/// The first line, which is a heading.
pub(super) fn title(text: &str) -> &str {
    text.lines().next().unwrap_or_default().trim_start_matches(['#', ' '])
}

fn entry((name, path, text): &Page, file: &str) -> String {
    let current = if *path == file { " aria-current=\"page\"" } else { "" };
    format!("<li><a href=\"{}\"{current}>{}</a></li>\n", url(name), escaped(title(text)))
}

pub(super) fn url(name: &str) -> String {
    if name.is_empty() { HOME.to_owned() } else { format!("{HOME}/{name}") }
}

/// With links that lead to pages of the manual; those that lead to anything else in the repository are left as text.
fn led_on<'a>(file: &str, events: impl Iterator<Item = Event<'a>>) -> impl Iterator<Item = Event<'a>> {
    let mut is_dead = false;
    events.filter_map(move |event| match event {
        Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
            let target = target(file, &dest_url);
            is_dead = target.is_none();
            target.map(|target| Event::Start(Tag::Link { link_type, dest_url: target.into(), title, id }))
        }
        Event::End(TagEnd::Link) if is_dead => None,
        // Of a picture there is what it shows, in words.
        Event::Start(Tag::Image { .. }) | Event::End(TagEnd::Image) => None,
        // What a program fills in stands between comments.
        Event::Html(text) if text.trim_start().starts_with("<!--") => None,
        // In these pages only Markdown is markup.
        Event::Html(text) | Event::InlineHtml(text) => Some(Event::Text(text)),
        event => Some(event),
    })
}

fn target(file: &str, link: &str) -> Option<String> {
    // What the text shows of a node at its default port is on this one.
    if let Some(path) = link.strip_prefix("http://127.0.0.1:7375/") {
        return Some(format!("/{path}"));
    }
    // What has a scheme, and what stays on the page.
    if link.contains(':') || link.starts_with('#') {
        return Some(link.to_owned());
    }
    let (path, anchor) = link.split_at(link.find('#').unwrap_or(link.len()));
    let mut found = PathBuf::new();
    for part in Path::new(file).with_file_name(path).components() {
        match part {
            Component::ParentDir => drop(found.pop()),
            part => found.push(part),
        }
    }
    let (name, ..) = all().find(|(_, page, _)| Path::new(page) == found)?;
    Some(url(name) + anchor)
}

/// Gives each heading the name that GitHub gives it, which links in these pages rely on.
fn name_headings(events: &mut [Event<'_>]) -> Vec<Heading> {
    let mut headings = Vec::new();
    let mut words: Vec<String> = Vec::new();
    // From the end, so that a heading's words are known when it begins.
    for event in events.iter_mut().rev() {
        match event {
            Event::End(TagEnd::Heading(_)) => words.clear(),
            Event::Text(text) | Event::Code(text) => words.push(text.to_string()),
            Event::Start(Tag::Heading { level, id, .. }) => {
                let text: String = words.drain(..).rev().collect();
                let kept = text.chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
                let anchor = kept.collect::<String>().to_lowercase().replace(' ', "-");
                *id = Some(anchor.clone().into());
                headings.push((*level, text, anchor));
            }
            _ => {}
        }
    }
    headings.reverse();
    headings
}

fn escaped(text: &str) -> String {
    let mut html = String::new();
    push_html(&mut html, std::iter::once(Event::Text(text.into())));
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_to_pages_of_the_manual_or_nowhere() {
        let file = "docs/reference/http.md";
        for (link, leads) in [
            ("problems.md", Some("/docs/problems")),
            ("problems.md#no-leader", Some("/docs/problems#no-leader")),
            ("../README.md", Some("/docs")),
            ("../presence.md#inboxes", Some("/docs/presence#inboxes")),
            ("../performance.md", Some("/docs/performance")),
            ("#publish", Some("#publish")),
            ("http://127.0.0.1:7375/console", Some("/console")),
            ("https://example.com/", Some("https://example.com/")),
            ("../../README.md#limits", Some("/docs/readme#limits")),
            ("../../ARCHITECTURE.md", None),
            ("../../src/http/mod.rs", None),
        ] {
            assert_eq!(target(file, link).as_deref(), leads, "{link}");
        }
    }

    #[test]
    fn a_page_is_html_whose_headings_have_names() {
        let page = html(
            "docs/faq.md",
            "# A & B\n\n<!-- filled in -->\n## `Is` it, <b>?\n\n[here](presence.md) and [there](../src)\n\n|a|b|\n|---|--:|\n|c|1|\n",
        );
        for part in [
            "<title>A &amp; B · repl</title>",
            "<li><a href=\"#is-it-b\">Is it, &lt;b&gt;?</a></li>",
            "<h2 id=\"is-it-b\">",
            "<p><a href=\"/docs/presence\">here</a> and there</p>",
            "<a href=\"/docs/faq\" aria-current=\"page\">",
            "<td>c</td><td class=\"figure\">1</td>",
        ] {
            assert!(page.contains(part), "{part} in {page}");
        }
        assert!(!page.contains("filled in"), "{page}");
    }
}
