//! The ways in which servers read one path.
//!
//! A proxy may hand a path on as it came, and the product behind it may resolve dot segments or not, take `%2f` for a slash or
//! for text, and join slashes that follow one another or not. Which of these it does, the gate cannot know.

use super::{PATH_MAX, Segment};

/// All readings of a path.
pub(super) struct Readings {
    /// Segments: decoded, in one case of letters.
    pub(super) paths: Vec<Vec<String>>,
    /// Whether it has something that servers cut off, turn into a slash or decode once more, so that it has still other readings.
    pub(super) doubtful: bool,
}

/// The readings of a path, its query left out. A path that leads out of the root, or does not decode, has none.
pub(super) fn readings(path: &str) -> Option<Readings> {
    let path = path.split('?').next()?;
    if !path.starts_with('/') || path.len() > PATH_MAX {
        return None;
    }
    let whole = decoded(path)?;
    let strange = |letter: char| letter.is_control() || [';', '\\', '%'].contains(&letter);
    let doubtful = path.contains('#') || whole.contains(strange);
    let apart: Vec<String> =
        path[1..].split('/').map(|segment| decoded(segment).map(folded)).collect::<Option<_>>()?;
    let whole = folded(whole);
    // Dot segments may be resolved before `%2f` is decoded.
    let late = format!("/{}", read(&apart, true, false)?.join("/"));
    let mut ways = vec![split(&whole), apart, split(&late)];
    // A proxy that is told to pass on a decoded path makes a query of what was none.
    if let Some(end) = whole.find(['?', '#']) {
        ways.push(split(&whole[..end]));
    }
    let mut paths: Vec<Vec<String>> = Vec::new();
    for way in &ways {
        for (resolved, merged) in [(true, true), (true, false), (false, true), (false, false)] {
            let reading = read(way, resolved, merged)?;
            if !paths.contains(&reading) {
                paths.push(reading);
            }
        }
    }
    Some(Readings { paths, doubtful })
}

/// The segments of a rule's path; none where it is not one, or none that a request could have.
pub(super) fn pattern(path: &str) -> Option<Vec<Segment>> {
    let path = path.strip_prefix('/').filter(|path| path.len() < PATH_MAX)?;
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.is_empty() {
        return Some(Vec::new());
    }
    let one = |segment: &str| match segment {
        "*" => Some(Segment::One),
        "**" => Some(Segment::Rest),
        "" => None,
        _ if segment.contains(['*', '?', '#']) => None,
        _ => {
            let text = decoded(segment)?;
            let strange = |letter: char| letter.is_control() || ['/', ';', '\\', '%'].contains(&letter);
            let dots = text == "." || text == "..";
            (!dots && !text.contains(strange)).then(|| Segment::Text(folded(text)))
        }
    };
    path.split('/').map(one).collect()
}

fn split(decoded: &str) -> Vec<String> {
    decoded[1..].split('/').map(str::to_string).collect()
}

/// One way to read segments: with dot segments resolved or not, empty segments left out or not. The slash at the end never counts.
fn read(segments: &[String], resolved: bool, merged: bool) -> Option<Vec<String>> {
    let segments = match segments {
        [before @ .., last] if last.is_empty() => before,
        all => all,
    };
    let mut found: Vec<String> = Vec::with_capacity(segments.len());
    for segment in segments {
        match segment.as_str() {
            "" if merged => {}
            "." if resolved => {}
            ".." if resolved => drop(found.pop()?),
            _ => found.push(segment.clone()),
        }
    }
    Some(found)
}

/// In one case of letters: some servers do not tell them apart. Upper case first, as some letters meet only there.
fn folded(text: String) -> String {
    if text.is_ascii() { text.to_ascii_lowercase() } else { text.to_uppercase().to_lowercase() }
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first == b'%' {
            let [high, low, after @ ..] = rest else { return None };
            let digit = |byte: &u8| char::from(*byte).to_digit(16);
            bytes.push(u8::try_from(digit(high)? * 16 + digit(low)?).ok()?);
            rest = after;
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
}
