//! Compares the list of public calls with the rows of all groups.

use crate::common;
use crate::common::listing::functions;
use std::collections::BTreeSet;

/// Runs every group again in a child and collects its rows. Then compares the rows with the list of public
/// calls.
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
        let mut command = common::role_command("rows");
        let output = common::finish(command.env(common::ALONE, format!("errno_table::{name}")));
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
    let backend = if cfg!(feature = "c-shim") { "shim" } else { "asm" };
    common::say(&format!(
        "result: errno table | {} situations of {} calls ({by_number} of them by number), {held} held \
         against the C library or std, on {backend}",
        rows.len(),
        calls.len(),
    ));

    let public = public_calls(include_str!("../../api/full.txt"));
    assert!(public.len() > 150, "only {} public calls", public.len());
    let called = calls.iter().filter(|call| !call.starts_with("raw::"));
    let called: BTreeSet<String> = called.map(|call| (*call).to_owned()).collect();
    let missing: Vec<_> = public.difference(&called).collect();
    assert!(missing.is_empty(), "public calls without a row: {missing:#?}");
    let unknown: Vec<_> = called.difference(&public).collect();
    assert!(unknown.is_empty(), "rows of calls that there are not: {unknown:#?}");
}

/// Returns `module::function` or `Type::function` for each public function whose return type contains a
/// `Result`. Functions at the crate root are omitted, because each of these functions also appears in a
/// module.
fn public_calls(listing: &str) -> BTreeSet<String> {
    let answers = |line: &str| {
        let answer = line.split_once(") -> ").map(|(_, answer)| answer);
        answer.is_some_and(|answer| answer.contains("Result<"))
    };
    let calls = functions(listing).filter(|(_, line)| answers(line));
    let last_two = |path: String| {
        let (rest, name) = path.rsplit_once("::")?;
        Some(format!("{}::{name}", rest.rsplit("::").next()?))
    };
    calls.filter_map(|(path, _)| last_two(path)).collect()
}
