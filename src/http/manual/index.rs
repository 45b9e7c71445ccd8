//! What a search in the manual looks through: every section of every page.

use pulldown_cmark::{Event, Tag, TagEnd};
use serde_json::{Value, json};

use super::all;
use super::page::{parsed, title, url};

/// A section for each heading: where it is, what it is called, and what it says.
pub(super) fn sections() -> Value {
    all().flat_map(|(name, file, text)| of_page(&url(name), file, text)).collect()
}

fn of_page(url: &str, file: &str, text: &str) -> Vec<Value> {
    let mut sections: Vec<(String, String, String)> = Vec::new();
    let mut in_heading = false;
    for event in parsed(file, text).0 {
        match (event, sections.last_mut()) {
            (Event::Start(Tag::Heading { id, .. }), _) => {
                in_heading = true;
                sections.push((id.map(String::from).unwrap_or_default(), String::new(), String::new()));
            }
            (Event::End(TagEnd::Heading(_)), _) => in_heading = false,
            (Event::Text(part) | Event::Code(part), Some((_, heading, said))) => {
                if in_heading { heading } else { said }.push_str(&part);
            }
            // Words of two lines, cells or paragraphs are no single word.
            (Event::SoftBreak | Event::HardBreak | Event::End(_), Some((.., said))) if !said.ends_with(' ') => {
                said.push(' ');
            }
            _ => {}
        }
    }
    let section = |(anchor, heading, said): (String, String, String)| json!({ "url": format!("{url}#{anchor}"), "page": title(text), "heading": heading, "text": said.trim() });
    sections.into_iter().map(section).collect()
}
