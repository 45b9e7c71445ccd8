//! The pages of the HTTP API, from the description that a node gives of it and from the catalogue of problems.

use std::fmt::Write;
use std::fs;

use repl::http::Code;
use serde_json::Value;

use super::{page, wrapped};
use crate::tidy::root;

/// Every code of the catalogue: when it comes, what to do then, who answers it, and an answer.
pub(super) fn problems(api: &Value) -> String {
    let mut text = page(
        "Problems",
        "What is wrong is answered as `application/problem+json` (RFC 9457). Branch on `code`, which never changes its meaning;\n\
         `detail` says what to do in this case. `GET /problems/{code}` of a node leads to its section here.\n\n\
         Where there is a `Retry-After`, the same request may succeed later. Otherwise it will be answered the same again, unless\n\
         its section says so. 503 means that nothing was done; 504 `outcome-unknown`, that it may have been: try again with\n\
         the same `Idempotency-Key`. On a stream none of the passing ones is ever answered: see [the protocol](../protocol.md).",
    );
    let operations = described_operations(api);
    for code in Code::ALL {
        let name = code.as_str();
        let _ = write!(text, "\n## {name}\n\n{}: {}.\n\n", code.status().as_u16(), code.title());
        text += &wrapped(&format!("- **When**: {}", code.occasion().trim()), "  ");
        text += &wrapped(&format!("- **What to do**: {}", code.advice().trim()), "  ");
        if let Some(seconds) = code.retry_after_seconds() {
            text += &format!("- **Again**: later (`Retry-After: {seconds}`).\n");
        }
        let answered_by: Vec<_> = operations.iter().filter(|operation| operation.codes.contains(&name)).collect();
        if (1..10).contains(&answered_by.len()) {
            let links: Vec<_> = answered_by.iter().map(|operation| operation.link("http.md")).collect();
            text += &wrapped(&format!("- **Answered by**: {}", links.join(", ")), "  ");
        }
        let golden =
            fs::read_to_string(root().join(format!("tests/golden/problems/{name}.http"))).expect("a golden answer");
        let (_, body) = golden.split_once("\n\n").expect("a head and a body");
        let _ = write!(text, "\n```text\n{}\n```\n", body.trim_end());
    }
    text
}

/// An operation of the description, with what several pages say of it.
struct Operation<'a> {
    method: String,
    path: &'a str,
    is: &'a Value,
    /// The problems that it answers.
    codes: Vec<&'static str>,
}

impl Operation<'_> {
    fn summary(&self) -> &str {
        self.is["summary"].as_str().expect("a summary")
    }

    /// To its section on a page.
    fn link(&self, page: &str) -> String {
        let anchor = self.summary().to_lowercase().replace(' ', "-").replace('\'', "");
        format!("[`{} {}`]({page}#{anchor})", self.method, self.path)
    }
}

fn described_operations(api: &Value) -> Vec<Operation<'_>> {
    let mut found = Vec::new();
    for (path, methods) in api["paths"].as_object().expect("paths") {
        for (method, is) in methods.as_object().expect("methods") {
            let answers = is["responses"].to_string();
            let codes = Code::ALL.iter().map(|code| code.as_str());
            let codes = codes.filter(|code| answers.contains(&format!("`{code}`"))).collect();
            found.push(Operation { method: method.to_uppercase(), path, is, codes });
        }
    }
    found
}

/// Problems that any operation answers, and those that any does where nodes ask for tokens.
const EVERYWHERE: [&str; 6] =
    ["host-not-allowed", "internal", "unauthenticated", "invalid-token", "forbidden", "origin-not-allowed"];

/// What is described together, in the order in which a reader needs it.
const PARTS: [(&str, &str); 6] = [
    ("topics", "Topics"),
    ("messages", "Messages"),
    ("streams", "Streams"),
    ("presence", "Presence"),
    ("access", "Access"),
    ("operations", "Operations"),
];

/// Every operation, and every object that is sent.
pub(super) fn operations(api: &Value) -> String {
    let everywhere = EVERYWHERE.map(problem_link).join(", ");
    let about = [
        "Bodies are JSON. The same for programs, as OpenAPI 3.1, is [openapi.json](openapi.json), and a node's own is at \
         `/openapi.json`. Members with a `?` may be left out, or are; unknown ones are refused. What streams send is told in \
         [the protocol](../protocol.md), who may do what in [the README](../../README.md#who-may-do-what)."
            .to_owned(),
        "A request may say what it is part of, with `traceparent` (W3C Trace Context); each problem names its trace. See \
         [traces](../operations.md#a-request-in-the-log-and-in-traces)."
            .to_owned(),
        format!("Besides what stands with it, each operation may answer {everywhere}."),
    ];
    let mut text = page("The HTTP API", about.map(|paragraph| wrapped(&paragraph, "")).join("\n").trim_end());
    let operations = described_operations(api);
    for (tag, title) in PARTS {
        let _ = write!(text, "\n## {title}\n");
        for operation in operations.iter().filter(|operation| operation.is["tags"][0] == tag) {
            text += &section(operation);
        }
    }
    assert!(operations.iter().all(|operation| PARTS.iter().any(|(tag, _)| operation.is["tags"][0] == *tag)));
    text += "\n## Objects\n";
    for (name, schema) in api["components"]["schemas"].as_object().expect("schemas") {
        let _ = write!(text, "\n### {name}\n\n{}", wrapped(&described(schema), ""));
        text += &table("member", members(schema));
    }
    text
}

fn section(operation: &Operation<'_>) -> String {
    let Operation { method, path, is, codes } = operation;
    let mut text = format!("\n### {}\n\n`{method} {path}`\n", operation.summary());
    if let Some(description) = is["description"].as_str() {
        let _ = write!(text, "\n{}", wrapped(description, ""));
    }
    let parameters = is["parameters"].as_array().into_iter().flatten();
    text += &table(
        "parameter",
        parameters.map(|parameter| {
            let name =
                format!("`{}`{}", text_of(parameter, "name"), if parameter["required"] == true { "" } else { "?" });
            let place = match text_of(parameter, "in") {
                "query" => String::new(),
                place => format!(", in the {place}"),
            };
            let meaning = text_of(parameter, "description");
            (name, kind(&parameter["schema"]) + &place, sentence(meaning, &parameter["schema"]))
        }),
    );
    text.push('\n');
    if let Some(content) = is["requestBody"]["content"].as_object() {
        for (media, body) in content {
            let _ = writeln!(text, "- Body: `{media}`, {}", kind(&body["schema"]));
        }
    }
    for (status, answer) in is["responses"].as_object().expect("responses") {
        if status.as_str() < "400" {
            let body = answer["content"].as_object().and_then(|content| content.iter().next());
            let body = body.map(|(media, body)| match kind(&body["schema"]) {
                named if named.starts_with('[') => format!(" · {named}"),
                _ => format!(" · `{media}`"),
            });
            let line = format!("- {status}{}: {}.", body.unwrap_or_default(), text_of(answer, "description"));
            text += &wrapped(&line, "  ");
        }
    }
    let own: Vec<_> = codes.iter().filter(|code| !EVERYWHERE.contains(code)).map(|code| problem_link(code)).collect();
    if !own.is_empty() {
        text += &wrapped(&format!("- Problems: {}", own.join(", ")), "  ");
    }
    text
}

fn problem_link(code: &str) -> String {
    format!("[`{code}`](problems.md#{code})")
}

/// The members of an object: what each is called, is, and means.
fn members(schema: &Value) -> impl Iterator<Item = (String, String, String)> {
    let properties = schema["properties"].as_object().into_iter().flatten();
    properties.map(|(name, member)| {
        let is_required = schema["required"].as_array().is_some_and(|names| names.iter().any(|known| known == name));
        let name = format!("`{name}`{}", if is_required { "" } else { "?" });
        // What may be null is described inside.
        let inner = member["oneOf"].get(0).unwrap_or(member);
        (name, kind(member), sentence(text_of(inner, "description"), member))
    })
}

fn table(what: &str, rows: impl Iterator<Item = (String, String, String)>) -> String {
    let rows: String = rows.map(|(name, kind, meaning)| format!("| {name} | {kind} | {meaning} |\n")).collect();
    if rows.is_empty() { rows } else { format!("\n| {what} | type | meaning |\n|---|---|---|\n{rows}") }
}

/// What a schema without members says.
fn described(schema: &Value) -> String {
    let description = sentence(text_of(schema, "description"), schema);
    match schema["properties"].is_object() {
        true => description,
        false => format!("{}. {description}", kind(schema)),
    }
}

/// The type of a schema, in words.
fn kind(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
        return format!("[{name}](#{})", name.to_lowercase());
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let choices = choices.iter().filter(|choice| choice["type"] != "null");
        return choices.map(kind).collect::<Vec<_>>().join(" or ");
    }
    let name = match &schema["type"] {
        // Null is as good as left out.
        Value::Array(names) => names.iter().filter_map(Value::as_str).find(|name| *name != "null"),
        name => name.as_str(),
    };
    match name {
        Some("array") => format!("array of {}", kind(&schema["items"])),
        Some("object") if schema["additionalProperties"]["type"] == "string" => "object of strings".to_owned(),
        Some(name) => name.to_owned(),
        None => "any JSON".to_owned(),
    }
}

/// A description, with the bounds that a schema sets.
fn sentence(text: &str, schema: &Value) -> String {
    let mut parts = vec![text.trim_end_matches('.').replace('\n', " ")];
    if let Some(values) = schema["enum"].as_array().filter(|values| values.len() < 10) {
        let values: Vec<_> = values.iter().filter_map(Value::as_str).map(|value| format!("`{value}`")).collect();
        parts.push(values.join(", "));
    }
    match (&schema["minimum"], &schema["maximum"]) {
        (min, max) if max.is_number() => parts.push(format!("{min} to {max}")),
        _ => {}
    }
    match &schema["default"] {
        Value::Null => {}
        Value::String(value) => parts.push(format!("Default: `{value}`")),
        value => parts.push(format!("Default: {value}")),
    }
    parts.retain(|part| !part.is_empty());
    if parts.is_empty() { String::new() } else { parts.join(". ") + "." }
}

fn text_of<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}
