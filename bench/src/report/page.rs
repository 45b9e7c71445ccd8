//! A page in Markdown whose prose is written by hand and whose figures are not: what stands between `<!-- name -->` and
//! `<!-- /name -->` is replaced, the rest stays.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::plot::Plot;

/// Puts text between the marks of its name. Pictures go to files in the folder that is called like the page.
///
/// # Errors
/// The page has no such marks, or can't be written.
pub(crate) fn fill(file: &Path, parts: &[(&str, String)], plots: &[Plot]) -> Result<()> {
    let mut page = fs::read_to_string(file).with_context(|| format!("can't read {}", file.display()))?;
    for (name, text) in parts {
        page = replace(&page, name, text).with_context(|| format!("{} has no {name}", file.display()))?;
    }
    let folder = file.with_extension("");
    fs::create_dir_all(&folder).with_context(|| format!("can't make {}", folder.display()))?;
    for plot in plots {
        let file = folder.join(plot.name).with_extension("svg");
        fs::write(&file, plot.svg()).with_context(|| format!("can't write {}", file.display()))?;
    }
    fs::write(file, page).with_context(|| format!("can't write {}", file.display()))
}

fn replace(page: &str, name: &str, text: &str) -> Option<String> {
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
    let (before, rest) = page.split_once(&begin)?;
    let (_, behind) = rest.split_once(&end)?;
    Some(format!("{before}{begin}{}\n{end}{behind}", text.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_between_the_marks_is_replaced() {
        let page = "a\n<!-- x -->\nold\n<!-- /x -->\nb\n";
        let filled = replace(page, "x", "new\n").expect("marks");
        assert_eq!(filled, "a\n<!-- x -->\nnew\n<!-- /x -->\nb\n");
        assert_eq!(replace(&filled, "x", "new\n").as_deref(), Some(&*filled));
        assert_eq!(replace(page, "y", "new"), None);
    }
}
