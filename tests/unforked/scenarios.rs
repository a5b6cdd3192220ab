//! Checks the names in `SCENARIOS.md`, `HAZARDS.md` and `docs/UNSAFE.md`. The named tests and files must
//! exist, and every file with unsafe code and every public unsafe function must be listed. If `RAWPIPE_WRITE`
//! is set, a test writes the number of unsafe blocks in each file to `docs/UNSAFE.md`.

use crate::common::{self, listing::functions};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{env, fs};

/// Returns the root directory of the sources, or `None` if the sources are not available.
fn sources(test: &str) -> Option<PathBuf> {
    let top = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let there = top.join("tests/HAZARDS.md").exists() && top.join("src/lib.rs").exists();
    if !there {
        common::skip(test, "the sources are not here");
    }
    there.then_some(top)
}

/// Returns the names of the tests in a source file. A test is a function with the test attribute or an entry
/// in a list of tests.
fn tests_of(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut marked = false;
    for line in text.lines().map(str::trim) {
        match line.strip_prefix("fn ").and_then(|rest| rest.split('(').next()) {
            Some(name) if marked => {
                found.insert(name.to_owned());
                marked = false;
            }
            // Other attributes and comments may follow the test attribute.
            _ => marked = line == "#[test]" || marked && line.starts_with(['#', '/']),
        }
    }
    let lists = text.split("tests![").skip(1).filter_map(|rest| rest.split(']').next());
    for name in
        lists.flat_map(|list| list.split(',')).map(str::trim).filter(|name| !name.is_empty())
    {
        // The list compiles, so a function with this name exists.
        found.insert(name.to_owned());
    }
    // Some lists contain pairs of a name and a function.
    if text.contains("fn tests() -> Vec<") {
        let pairs = text.split("(\"").skip(1).filter_map(|rest| rest.split_once("\", "));
        found.extend(pairs.map(|(name, _)| name.to_owned()).filter(|name| !name.contains(' ')));
    }
    found
}

/// Collects the Rust files in a directory and its subdirectories.
fn below(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            below(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Returns all tests, grouped by topic. The group `lib` contains the tests in `src`.
fn all_tests(top: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut files = Vec::new();
    ["src", "tests"].into_iter().for_each(|folder| below(&top.join(folder), &mut files));
    for file in files {
        let inside = file.strip_prefix(top).unwrap();
        let topic = match inside.iter().next_back().and_then(|name| name.to_str()) {
            _ if inside.starts_with("src") => "lib",
            Some("main.rs") => inside.parent().and_then(Path::file_name).unwrap().to_str().unwrap(),
            name => name.and_then(|name| name.strip_suffix(".rs")).unwrap(),
        };
        let found = tests_of(&fs::read_to_string(&file).unwrap());
        all.entry(topic.to_owned()).or_default().extend(found);
    }
    all
}

/// Returns the cells of each table row except the header rows.
fn lines(text: &str) -> Vec<Vec<String>> {
    let rows = text.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    let rows = rows.map(|row| row.split(" | ").map(str::to_owned).collect::<Vec<_>>());
    rows.filter(|cells| cells.last().is_some_and(|last| last != "here")).collect()
}

/// Returns the topic and the name of each test that `cell` lists in backticks as `topic::test`.
fn names(cell: &str) -> Vec<(&str, &str)> {
    let quoted = cell.split('`').skip(1).step_by(2);
    quoted.filter(|word| !word.contains(' ')).filter_map(|word| word.split_once("::")).collect()
}

#[test]
fn scenarios_name_tests_that_exist() {
    let Some(top) = sources("scenarios_name_tests_that_exist") else { return };
    let all = all_tests(&top);
    let text = fs::read_to_string(top.join("tests/SCENARIOS.md")).unwrap();
    let (mut tested, mut reasons, mut wrong) = (0, 0, Vec::new());
    let lines = lines(&text);
    let mut seen = BTreeSet::new();
    for cells in &lines {
        let [situation, asked_by, here] = &cells[..] else {
            wrong.push(format!("not three cells: {cells:?}"));
            continue;
        };
        let named = names(here);
        for (binary, test) in &named {
            if !all.get(*binary).is_some_and(|tests| tests.contains(*test)) {
                wrong.push(format!("{situation}: there is no test {binary}::{test}"));
            }
        }
        match here.strip_prefix("not here: ") {
            Some(reason) if reason.len() > 10 => reasons += 1,
            None if !named.is_empty() => tested += 1,
            _ => wrong.push(format!("{situation}: neither a test nor a reason")),
        }
        if asked_by.is_empty() || !seen.insert((situation.clone(), asked_by.clone())) {
            wrong.push(format!("{situation}: no suite is named, or the line is there twice"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(lines.len() > 300, "only {} lines were read", lines.len());
    assert_eq!(tested + reasons, lines.len());
    let count = lines.len();
    common::say(&format!(
        "result: scenarios | {count} scenarios, {tested} tested, {reasons} with a reason"
    ));
}

#[test]
fn hazards_have_a_test_or_a_file_that_warns() {
    let test = "hazards_have_a_test_or_a_file_that_warns";
    let Some(top) = sources(test) else { return };
    let all = all_tests(&top);
    let text = fs::read_to_string(top.join("tests/HAZARDS.md")).unwrap();
    let (mut tested, mut said, mut wrong) = (0, 0, Vec::new());
    let lines = lines(&text);
    for cells in &lines {
        let [hazard, here] = &cells[..] else {
            wrong.push(format!("not two cells: {cells:?}"));
            continue;
        };
        let named = names(here);
        for (binary, test) in &named {
            if !all.get(*binary).is_some_and(|tests| tests.contains(*test)) {
                wrong.push(format!("{hazard}: there is no test {binary}::{test}"));
            }
        }
        let files = here.split("docs: `").skip(1).filter_map(|rest| rest.split('`').next());
        let files: Vec<_> = files.collect();
        let gone = files.iter().filter(|file| !top.join(file).exists());
        wrong.extend(gone.map(|file| format!("{hazard}: there is no file {file}")));
        match (named.is_empty(), files.is_empty()) {
            (false, _) => tested += 1,
            (true, false) => said += 1,
            (true, true) => wrong.push(format!("{hazard}: neither a test nor a file")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(lines.len() > 70, "only {} lines were read", lines.len());
    assert_eq!(tested + said, lines.len());
    let count = lines.len();
    common::say(&format!(
        "result: hazards | {count} hazards, {tested} tested, {said} kept away by words alone"
    ));
}

/// Returns the number of unsafe blocks in a source file, or `None` if its code does not contain the word
/// `unsafe`.
fn unsafe_blocks(text: &str) -> Option<usize> {
    let code = text.lines().map(str::trim).filter(|line| !line.starts_with("//"));
    let code: Vec<_> = code.map(|line| line.split(" // ").next().unwrap_or(line)).collect();
    let word =
        |line: &&str| line.split(|c: char| c != '_' && !c.is_alphanumeric()).any(|w| w == "unsafe");
    let blocks = code.iter().map(|line| line.matches("unsafe {").count()).sum();
    code.iter().any(word).then_some(blocks)
}

/// Returns a copy of the page in which the tables contain `counts`.
fn with_counts(page: &str, counts: &BTreeMap<String, String>) -> String {
    let row = |line: &str| {
        let (file, rest) = line.strip_prefix("| `")?.split_once("` | ")?;
        let (_, rest) = rest.split_once('|')?;
        let count = counts.get(file).filter(|count| !count.is_empty())?;
        Some(format!("| `{file}` | {count} |{rest}"))
    };
    page.lines().map(|line| row(line).unwrap_or_else(|| line.to_owned()) + "\n").collect()
}

/// Returns the names of the unsafe functions in a listing of the public interface. The crate name is removed
/// from each name.
fn unsafe_functions(listing: &str) -> BTreeSet<String> {
    let all = functions(listing).filter(|(_, line)| line.contains("unsafe fn "));
    all.map(|(name, _)| name).collect()
}

#[test]
fn unsafe_code_is_all_listed_with_tests_that_exist() {
    let Some(top) = sources("unsafe_code_is_all_listed_with_tests_that_exist") else { return };
    let (all, mut wrong) = (all_tests(&top), Vec::new());
    let mut text = fs::read_to_string(top.join("docs/UNSAFE.md")).unwrap();
    let (mut files, mut here) = (Vec::new(), BTreeMap::new());
    below(&top.join("src"), &mut files);
    for path in files {
        let source = fs::read_to_string(&path).unwrap();
        if let Some(blocks) = unsafe_blocks(&source) {
            let file = path.strip_prefix(&top).unwrap().to_str().unwrap().to_owned();
            if !source.contains("\n//! # Safety\n") {
                wrong.push(format!("{file}: has no paragraph on safety"));
            }
            here.insert(file, blocks.to_string());
        }
    }
    here.insert("csrc/shim.c".to_owned(), String::new());
    if env::var_os("RAWPIPE_WRITE").is_some() {
        text = with_counts(&text, &here);
        fs::write(top.join("docs/UNSAFE.md"), &text).unwrap();
    }
    let count = here.len();
    let mut tests = BTreeSet::new();
    let mut functions = BTreeSet::new();
    for row in text.lines().filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |")) {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let [file, blocks, trusted, attacked] = cells[..] else {
            functions.extend(cells[0].split(['`', ',', ' ']).map(str::to_owned));
            continue;
        };
        let file = file.trim_end_matches('`');
        match here.remove(file) {
            None => wrong.push(format!("{file}: has no unsafe code, or is listed twice")),
            Some(now) if now != blocks => {
                wrong
                    .push(format!("{file}: {now} blocks, not {blocks}: RAWPIPE_WRITE=1 writes it"));
            }
            Some(_) => (),
        }
        let named = names(attacked);
        for (binary, test) in &named {
            if !all.get(*binary).is_some_and(|tests| tests.contains(*test)) {
                wrong.push(format!("{file}: there is no test {binary}::{test}"));
            }
        }
        if trusted.is_empty() || (named.is_empty() && !attacked.starts_with("the same")) {
            wrong.push(format!("{file}: no invariant, or no test that attacks it"));
        }
        tests.extend(named);
    }
    wrong.extend(here.into_keys().map(|file| format!("{file}: is not listed")));
    for listing in ["full", "no-default-features"] {
        let listing = fs::read_to_string(top.join(format!("tests/api/{listing}.txt"))).unwrap();
        let public = unsafe_functions(&listing);
        assert!(public.len() > 10, "{public:?}");
        wrong.extend(public.difference(&functions).map(|name| format!("{name}: is not listed")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let tests = tests.len();
    common::say(&format!("result: unsafe code | {count} files, attacked by {tests} tests"));
}

/// Checks the functions that the tests above use: they must find exactly the expected names in sample texts.
#[test]
fn tests_of_a_source_are_those_that_run() {
    let source = "#[test]\n/// Words.\n#[cfg(unix)]\nfn marked() {}\n\nfn helper() {}\n\
                  fn main() { run(tests![one, two,]); }\n#[test]\nlet x = 1;\nfn late() {}\n";
    let found: Vec<_> = tests_of(source).into_iter().collect();
    assert_eq!(found, ["marked", "one", "two"]);
    let row =
        lines("| situation: outcome | asked by | here |\n|---|---|---|\n| a | b | `x::y`, c |\n");
    assert_eq!(row, [["a", "b", "`x::y`, c"]]);
    assert_eq!(names(&row[0][2]), [("x", "y")]);
    let source = "// unsafe {\n#![allow(unsafe_code)]\n";
    assert_eq!(unsafe_blocks(source), None);
    assert_eq!(unsafe_blocks(&format!("{source}pub unsafe fn f() {{}}")), Some(0));
    assert_eq!(unsafe_blocks(&format!("{source}x = unsafe {{ f() }}; // unsafe {{")), Some(1));
    let page = "# A | b\n| `x.rs` | 1 | for | `a::b` |\n| `y.c` | | the same | c |\n";
    let counts = [("x.rs", "2"), ("y.c", "")].map(|(file, n)| (file.to_owned(), n.to_owned()));
    assert_eq!(with_counts(page, &counts.into()), page.replace("| 1 |", "| 2 |"));
    let listing = "pub fn rawpipe::a()\n#[must_use] pub const unsafe fn rawpipe::b::C<'_>::d<T: F() -> u8>(x: T)";
    assert_eq!(unsafe_functions(listing), ["b::C::d".to_owned()].into());
}
