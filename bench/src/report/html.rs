//! A report as one page that needs nothing else.

use std::fmt::Write;

use super::Table;
use super::plot::{Plot, escape};

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:80rem;margin:2rem auto;padding:0 1rem;\
    color:#1f2328;background:#fff}table{border-collapse:collapse;font-size:13px}\
    th,td{padding:.25rem .6rem;text-align:right;white-space:nowrap;border-bottom:1px solid #d0d7de}th:first-child,td:first-child\
    {text-align:left}div{overflow-x:auto}pre{white-space:pre-wrap}svg{max-width:100%;height:auto}\
    @media(prefers-color-scheme:dark){body{color:#e6edf3;background:#0d1117}th,td{border-color:#30363d}}";

/// A page with what it is about, a table and plots.
pub(crate) fn page(title: &str, head: &str, table: &Table, plots: &[Plot]) -> String {
    let title = escape(title);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><meta name=\"color-scheme\" content=\"light dark\">\
         <title>repl-bench {title}</title><style>{STYLE}</style></head><body>\n<h1>{title}</h1>\n<pre>{}</pre>\n<div>{}</div>\n",
        escape(head),
        table.html()
    );
    for plot in plots {
        let _ = writeln!(page, "<p>{}</p>", plot.svg());
    }
    page + "</body></html>\n"
}
