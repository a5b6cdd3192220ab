//! Parses the listings of the public interface in `tests/api`.

/// Returns the functions of a listing. Each item holds two strings: the path after the crate name, without
/// generic parameters, and the complete line.
pub(crate) fn functions(listing: &str) -> impl Iterator<Item = (String, &str)> {
    listing.lines().filter_map(|line| Some((path(line.split_once("fn rawpipe::")?.1), line)))
}

fn path(text: &str) -> String {
    let text = text.replace("->", "");
    let mut depth = 0;
    let outside = text.chars().filter(|c| {
        depth += i32::from(*c == '<');
        let outside = depth == 0;
        depth -= i32::from(*c == '>');
        outside
    });
    outside.take_while(|c| *c != '(').collect()
}
