//! Reduces Rust source to what the rules may judge: code without comments and strings, and code
//! without its tests. Line numbers stay what they are in the file.
//!
//! Not a parser: it relies on rustfmt having laid the file out. Read next: `sources`.

/// Blanks comments and the insides of string and character literals, keeping every line break.
pub(super) fn code_only(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let end = literal_end(bytes, at);
        if end > at {
            out.extend(bytes[at..end].iter().map(|&byte| if byte == b'\n' { b'\n' } else { b' ' }));
            at = end;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Where the comment or literal that begins at `at` ends; `at` itself when none begins there.
fn literal_end(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    if rest.starts_with(b"//") {
        return at + rest.iter().position(|&byte| byte == b'\n').unwrap_or(rest.len());
    }
    if rest.starts_with(b"/*") {
        return block_comment_end(bytes, at);
    }
    let after_word = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
    if !after_word && (rest[0] == b'r' || rest.starts_with(b"br")) {
        return raw_string_end(bytes, at);
    }
    match rest[0] {
        b'"' => quoted_end(bytes, at),
        // A lifetime has no closing quote one character (or one escape) later.
        b'\'' if rest.len() > 2 && (rest[1] == b'\\' || rest[2] == b'\'' || !rest[1].is_ascii()) => {
            quoted_end(bytes, at)
        }
        _ => at,
    }
}

fn block_comment_end(bytes: &[u8], at: usize) -> usize {
    let (mut depth, mut here) = (0, at);
    while here < bytes.len() {
        if bytes[here..].starts_with(b"/*") {
            depth += 1;
            here += 2;
        } else if bytes[here..].starts_with(b"*/") {
            depth -= 1;
            here += 2;
            if depth == 0 {
                return here;
            }
        } else {
            here += 1;
        }
    }
    here
}

fn raw_string_end(bytes: &[u8], at: usize) -> usize {
    let prefix = if bytes[at] == b'b' { 2 } else { 1 };
    let hashes = bytes[at + prefix..].iter().take_while(|&&byte| byte == b'#').count();
    let open = at + prefix + hashes;
    if bytes.get(open) != Some(&b'"') {
        return at;
    }
    let close: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
    let body = &bytes[open + 1..];
    let length = body.windows(close.len()).position(|window| window == close).unwrap_or(body.len());
    (open + 1 + length + close.len()).min(bytes.len())
}

fn quoted_end(bytes: &[u8], at: usize) -> usize {
    let quote = bytes[at];
    let mut here = at + 1;
    while here < bytes.len() && bytes[here] != quote {
        here += if bytes[here] == b'\\' { 2 } else { 1 };
    }
    (here + 1).min(bytes.len())
}

/// What a file holds besides its tests, and the modules that it includes for tests alone.
pub(super) struct Parted {
    pub(super) product: String,
    pub(super) test_modules: Vec<String>,
}

/// Blanks every item marked `#[cfg(test)]`. `code` is what `code_only` gives.
pub(super) fn part(code: &str) -> Parted {
    let mut parted = Parted { product: String::with_capacity(code.len()), test_modules: Vec::new() };
    let mut lines = code.lines();
    while let Some(line) = lines.next() {
        if line.trim() != "#[cfg(test)]" {
            parted.product.push_str(line);
            parted.product.push('\n');
            continue;
        }
        parted.product.push('\n');
        let closing = format!("{}}}", &line[..line.len() - line.trim_start().len()]);
        // Further attributes may stand between the mark and the item.
        let mut item = None;
        for line in lines.by_ref() {
            parted.product.push('\n');
            if !line.trim().is_empty() && !line.trim().starts_with("#[") {
                item = Some(line);
                break;
            }
        }
        let item = item.unwrap_or_default().trim_end();
        if item.ends_with(';') || item.ends_with('}') {
            let name = item.trim_end_matches(';').rsplit("mod ").next().filter(|_| item.contains("mod "));
            parted.test_modules.extend(name.map(str::to_string));
            continue;
        }
        for line in lines.by_ref() {
            parted.product.push('\n');
            if line.trim_end() == closing {
                break;
            }
        }
    }
    parted
}

/// The lines (from 1) on which `word` stands as a word of its own.
pub(super) fn lines_with_word(code: &str, word: &str) -> Vec<usize> {
    let part_of_word = |found: Option<char>| found.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let on_line = |line: &str| {
        line.match_indices(word).any(|(at, _)| {
            !part_of_word(line[..at].chars().next_back())
                && !part_of_word(line[at + word.len()..].chars().next())
        })
    };
    code.lines().enumerate().filter(|(_, line)| on_line(line)).map(|(at, _)| at + 1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_strings_are_blanked_and_lines_kept() {
        let text = "let a = \"f64 \\\" f64\"; // f64\n/* f64 /* f64 */ f64 */ let b: f32 = r#\"f64 \"# ;\n";
        let code = code_only(text);
        assert!(!code.contains("f64"), "{code}");
        assert_eq!(lines_with_word(&code, "f32"), [2]);
        assert_eq!(code.lines().count(), 2);
    }

    #[test]
    fn lifetimes_and_character_literals_are_told_apart() {
        let code = code_only("fn f<'a>(x: &'a str) -> char { '\"' } // gone\nfn g() { '\\'' }\nf64");
        assert!(code.contains("&'a str"), "{code}");
        assert!(!code.contains("gone"), "{code}");
        assert_eq!(lines_with_word(&code, "f64"), [3]);
    }

    #[test]
    fn a_raw_string_is_not_confused_with_a_word_that_ends_in_r() {
        let code = code_only("let for_r = bar(\"x\"); r\"f64\" ; r#type; f32");
        assert!(code.contains("for_r = bar(") && code.contains("f32") && !code.contains("f64"), "{code}");
    }

    #[test]
    fn test_items_are_blanked_and_what_follows_is_kept() {
        let code = "fn a() {}\n#[cfg(test)]\nmod model;\nfn b() {}\n#[cfg(test)]\n#[rustfmt::skip]\nmod tests {\n    fn c() {}\n}\nfn d() {}\n";
        let parted = part(code);
        assert_eq!(parted.test_modules, ["model"]);
        assert!(parted.product.contains("fn a") && parted.product.contains("fn b"), "{}", parted.product);
        assert!(!parted.product.contains("fn c"), "{}", parted.product);
        assert_eq!(lines_with_word(&parted.product, "d"), [10]);
    }

    #[test]
    fn a_word_inside_another_word_does_not_count() {
        assert_eq!(lines_with_word("let f64_like = 1;\nlet x: f64;\nf64x", "f64"), [2]);
    }
}
