//! Tests this crate's descriptors in the event loops of other crates. Each file starts with the code that the
//! guide shows.
#![cfg(test)]

mod with_async_io;
mod with_mio;
mod with_polling;
mod with_tokio;

/// The page `docs/async.md` and the files must match. Except for doctests, each code block on the page is in
/// one of the files. All code above a file's tests is on the page.
#[test]
fn page_has_these_functions() {
    let page = include_str!("../../docs/async.md");
    let files = [
        include_str!("with_async_io.rs"),
        include_str!("with_mio.rs"),
        include_str!("with_polling.rs"),
        include_str!("with_tokio.rs"),
    ];
    let shown = files.map(|file| {
        let (shown, _) = file.split_once("\n// ------").expect("the line above the tests");
        shown.split_once("\n\n").expect("the line that says what the file is").1.trim_end()
    });
    let blocks: Vec<_> = page.split("```rust,ignore\n").skip(1).collect();
    let blocks: Vec<_> = blocks.iter().map(|part| part.split("\n```").next().unwrap()).collect();
    for block in &blocks {
        assert!(shown.iter().any(|file| file.contains(block)), "only on the page:\n{block}");
    }
    for file in shown {
        let missing = blocks.iter().fold(file.to_owned(), |rest, block| rest.replace(block, ""));
        assert_eq!(missing.trim(), "", "not on the page");
    }
}
