//! The list of public calls, as the sources have it, and the rows of all groups beside it.

use crate::common;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Public functions that answer a `Result` and have no row, each with the reason.
const EXEMPT: &[(&str, &str)] = &[];

/// Every group of rows is run again, for its rows.
pub(crate) fn every_public_call_has_a_row(groups: &[(&str, fn())]) {
    if common::emulated() {
        return common::skip(&common::name_alone(), "the emulator has not all situations");
    }
    if common::tool() == Some(common::Tool::Valgrind) {
        return common::skip(&common::name_alone(), "groups of rows are left out under Valgrind");
    }
    let mut rows = BTreeSet::new();
    let mut held = 0;
    for (name, _) in groups {
        let output = common::finish(&mut common::role_command(name, "rows"));
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {}\n{errors}", output.status);
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let Some(line) = line.strip_prefix("ROW ") else { continue };
            let mut parts = line.split(" | ");
            let call = parts.next().unwrap().to_owned();
            let situation = parts.next().expect(line).to_owned();
            held += usize::from(parts.next() == Some("held"));
            assert!(rows.insert((call, situation)), "twice: {line}");
        }
    }
    let calls: BTreeSet<&str> = rows.iter().map(|(call, _)| call.as_str()).collect();
    let by_number = calls.iter().filter(|call| call.starts_with("raw::")).count();
    let backend = if cfg!(rawpipe_shim) { "shim" } else { "asm" };
    common::say(&format!(
        "result: errno table | {} situations of {} calls ({by_number} of them by number), {held} held \
         against the C library or std, on {backend}",
        rows.len(),
        calls.len(),
    ));

    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut public = BTreeSet::new();
    public_calls(&sources, &sources, &mut public);
    if public.is_empty() {
        return common::skip(&common::name_alone(), "the sources are not here");
    }
    assert!(public.len() > 150, "{} public calls: does this still find them?", public.len());
    let exempt: BTreeSet<&str> = EXEMPT.iter().map(|(call, _)| *call).collect();
    let missing: Vec<_> = public
        .iter()
        .filter(|call| !calls.contains(call.as_str()) && !exempt.contains(call.as_str()))
        .collect();
    assert!(missing.is_empty(), "public calls without a row: {missing:#?}");
    let unknown: Vec<_> = calls
        .iter()
        .filter(|call| !call.starts_with("raw::"))
        .chain(&exempt)
        .filter(|call| !public.contains(**call))
        .collect();
    assert!(unknown.is_empty(), "rows of calls that there are not: {unknown:#?}");
    let both: Vec<_> = calls.intersection(&exempt).collect();
    assert!(both.is_empty(), "exempt, and have rows: {both:?}");
}

/// Finds `module::function` and `Type::function` for all public functions that answer a `Result`.
fn public_calls(top: &Path, folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            public_calls(top, &path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let inside = path.strip_prefix(top).unwrap();
            let module = inside.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs");
            in_file(&fs::read_to_string(&path).unwrap(), module, found);
        }
    }
}

fn in_file(text: &str, module: &str, found: &mut BTreeSet<String>) {
    let (text, _tests) = text.split_once("#[cfg(test)]\nmod tests {").unwrap_or((text, ""));
    let mut owner = None;
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let code = line.trim_start();
        let indent = line.len() - code.len();
        if let Some(rest) = code.strip_prefix("impl").filter(|rest| rest.starts_with([' ', '<'])) {
            owner = Some(type_of(rest));
        }
        if indent == 0 && code.starts_with('}') {
            owner = None;
        }
        let Some(rest) = code.strip_prefix("pub ") else { continue };
        let mut rest = rest;
        for word in ["const ", "unsafe "] {
            rest = rest.strip_prefix(word).unwrap_or(rest);
        }
        let Some(rest) = rest.strip_prefix("fn ") else { continue };
        let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let mut signature = line.to_owned();
        while !signature.trim_end().ends_with(['{', ';', '}']) {
            signature.push_str(lines.next().expect("the rest of a function"));
        }
        let answers =
            signature.split_once("->").is_some_and(|(_, answer)| answer.contains("Result<"));
        if !answers {
            continue;
        }
        match owner.as_deref().filter(|_| indent > 0) {
            None => _ = found.insert(format!("{module}::{name}")),
            // The macro for what both ends of a pipe have.
            Some("$End") => {
                found.extend(["PipeReader", "PipeWriter"].map(|end| format!("{end}::{name}")));
            }
            Some(owner) => _ = found.insert(format!("{owner}::{name}")),
        }
    }
}

/// `Channel` of `<R: AsFd, W: AsFd> Channel<R, W> {`, and what a trait is implemented for.
fn type_of(header: &str) -> String {
    let mut depth = 0_u32;
    let mut rest = header;
    if header.starts_with('<') {
        let end = header.find(|c| {
            depth = match c {
                '<' => depth + 1,
                '>' => depth - 1,
                _ => depth,
            };
            depth == 0
        });
        rest = &header[end.map_or(0, |end| end + 1)..];
    }
    let rest = rest.split_once(" for ").map_or(rest, |(_, behind)| behind).trim_start();
    rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_' || *c == '$').collect()
}
