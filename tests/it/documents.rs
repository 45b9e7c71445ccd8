//! The pages of the documentation: what they refer to is there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

use crate::tidy::{root, tracked_files};

/// A page without its blocks of code.
struct Page {
    file: String,
    prose: String,
}

impl Page {
    fn read(file: &str) -> Self {
        let text = fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        let mut in_block = false;
        let mut prose = String::new();
        for line in text.lines() {
            let is_fence = line.trim_start().starts_with("```");
            in_block ^= is_fence;
            prose += if in_block || is_fence { "" } else { line };
            prose.push('\n');
        }
        Self { file: file.to_owned(), prose }
    }

    /// What links show and where they lead, within the repository.
    fn links(&self) -> impl Iterator<Item = (&str, &str)> {
        self.prose.match_indices("](").filter_map(|(at, _)| {
            let target = self.prose[at + 2..].split(')').next()?;
            let label = self.prose[..at].rsplit('[').next()?;
            (!target.contains(':')).then_some((label, target))
        })
    }

    /// The names by which a link reaches its headings, as GitHub makes them.
    fn anchors(&self) -> Vec<String> {
        let headings = self.prose.lines().filter(|line| line.starts_with('#'));
        headings.map(|line| anchor(line.trim_start_matches('#').trim())).collect()
    }

    /// The file that a link means.
    fn resolve(&self, path: &str) -> String {
        if path.is_empty() {
            return self.file.clone();
        }
        let mut found = PathBuf::new();
        for part in Path::new(&self.file).with_file_name(path).components() {
            match part {
                Component::ParentDir => drop(found.pop()),
                part => found.push(part),
            }
        }
        found.to_string_lossy().into_owned()
    }
}

fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

/// Every page, by its file.
fn pages() -> BTreeMap<String, Page> {
    let files = tracked_files().into_iter().filter(|file| file.ends_with(".md") && root().join(file).exists());
    files.map(|file| (file.clone(), Page::read(&file))).collect()
}

/// What is wrong with a link, if anything is.
fn fault(pages: &BTreeMap<String, Page>, page: &Page, label: &str, target: &str) -> Option<String> {
    let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
    let file = page.resolve(path);
    let place = root().join(&file);
    if !place.exists() {
        return Some(format!("there is no {file}"));
    }
    if !anchor.is_empty() && !pages.get(&file).is_some_and(|page| page.anchors().iter().any(|known| known == anchor)) {
        return Some(format!("{file} has no heading {anchor}"));
    }
    // A test is shown as code.
    let test = label.strip_prefix('`').and_then(|label| label.strip_suffix('`')).filter(|_| is_test(&file))?;
    let text = fs::read_to_string(place).expect("a test is text");
    let title = if file.ends_with(".rs") { format!("fn {test}(") } else { test.to_owned() };
    (!text.contains(&title)).then(|| format!("{file} has no test {test}"))
}

fn is_test(file: &str) -> bool {
    file.ends_with(".rs") || file.contains(".test.")
}

#[test]
fn every_link_of_every_page_leads_to_what_it_says() {
    let pages = pages();
    let mut faults = Vec::new();
    for page in pages.values() {
        for (label, target) in page.links() {
            faults.extend(fault(&pages, page, label, target).map(|what| format!("{}: {target}: {what}", page.file)));
        }
    }
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
    assert!(pages["README.md"].links().count() > 20, "links are found");
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    let pages = pages();
    let page = Page { file: "docs/new.md".to_owned(), prose: "# A `b`, c\n".to_owned() };
    let found = |label: &str, target: &str| fault(&pages, &page, label, target);
    assert_eq!(found("it", "../README.md#limits"), None);
    assert_eq!(found("it", "nowhere.md"), Some("there is no docs/nowhere.md".to_owned()));
    assert_eq!(found("it", "../README.md#nothing"), Some("README.md has no heading nothing".to_owned()));
    assert_eq!(found("`is_test`", "../tests/it/documents.rs"), None);
    assert!(found("`no_such_test`", "../tests/it/documents.rs").is_some());
    assert_eq!(page.anchors(), ["a-b-c"]);
}
