//! Which rule of the gate a request falls under: by host, path and method, the most specific first.
//!
//! A host is exact, `*.example.com` (every name below it) or any. A path is made of segments: text stands for itself, `*` for
//! one segment, `**` at the end for whatever is left, nothing included. The more specific host wins, then the more specific
//! path (segment by segment: text, `*`, `**`), then a rule that names methods, then the lower priority, then the earlier rule.

use std::cmp::Reverse;
use std::collections::HashMap;

/// The longest path and host that are looked at, in bytes.
pub const TEXT_MAX: usize = 2_048;

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Segment {
    Text(String),
    One,
    Rest,
}

/// What a rule is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pattern {
    host: Host,
    path: Vec<Segment>,
    methods: Vec<String>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Host {
    Exact(String),
    Below(String),
    Any,
}

impl Pattern {
    /// Reads a pattern. No methods means all of them.
    ///
    /// # Errors
    /// The field that cannot be read: `host`, `path` or `methods`.
    pub fn parse(host: Option<&str>, path: &str, methods: &[&str]) -> Result<Pattern, &'static str> {
        let host = match host {
            None => Host::Any,
            Some(text) => match text.strip_prefix("*.") {
                Some(below) => Host::Below(host_of(below).ok_or("host")?),
                None => Host::Exact(host_of(text).ok_or("host")?),
            },
        };
        let wild = |segment: String| match segment.as_str() {
            "*" => Segment::One,
            "**" => Segment::Rest,
            _ => Segment::Text(segment),
        };
        let path: Vec<Segment> = segments(path).ok_or("path")?.into_iter().map(wild).collect();
        let early = path.iter().rev().skip(1).any(|segment| *segment == Segment::Rest);
        let named =
            |method: &&str| method.len() <= 32 && method.bytes().all(|byte| byte.is_ascii_uppercase());
        if early {
            return Err("path");
        }
        if methods.iter().any(|method| method.is_empty() || !named(method)) {
            return Err("methods");
        }
        Ok(Pattern { host, path, methods: methods.iter().map(ToString::to_string).collect() })
    }

    fn fits(&self, path: &[String], method: &str) -> bool {
        let rest = self.path.last() == Some(&Segment::Rest);
        let fixed = &self.path[..self.path.len() - usize::from(rest)];
        let long_enough = if rest { path.len() >= fixed.len() } else { path.len() == fixed.len() };
        let same = |(wanted, given): (&Segment, &String)| match wanted {
            Segment::Text(text) => text == given,
            Segment::One => true,
            Segment::Rest => false,
        };
        long_enough
            && fixed.iter().zip(path).all(same)
            && (self.methods.is_empty() || self.methods.iter().any(|known| known == method))
    }
}

/// All rules, found by host and first segment.
#[derive(Clone, Debug, Default)]
pub struct Table {
    patterns: Vec<Pattern>,
    places: HashMap<(Host, Option<String>), Vec<usize>>,
}

impl Table {
    /// Sorts rules, given with their priorities, so that the first that fits is the one.
    pub fn new(rules: Vec<(Pattern, i32)>) -> Table {
        let mut order: Vec<usize> = (0..rules.len()).collect();
        order.sort_by_key(|index| {
            let (pattern, priority) = &rules[*index];
            let kind = |segment: &Segment| match segment {
                Segment::Text(_) => 0_u8,
                Segment::One => 1,
                Segment::Rest => 2,
            };
            let kinds: Vec<u8> = pattern.path.iter().map(kind).collect();
            (kinds, Reverse(!pattern.methods.is_empty()), *priority, *index)
        });
        let mut places: HashMap<(Host, Option<String>), Vec<usize>> = HashMap::new();
        for index in order {
            let pattern = &rules[index].0;
            let first = match pattern.path.first() {
                Some(Segment::Text(text)) => Some(text.clone()),
                _ => None,
            };
            places.entry((pattern.host.clone(), first)).or_default().push(index);
        }
        Table { patterns: rules.into_iter().map(|(pattern, _)| pattern).collect(), places }
    }

    /// The place of the rule for a request; none where no rule fits, or where host or path cannot be read.
    pub fn find(&self, host: &str, path: &str, method: &str) -> Option<usize> {
        let (host, path) = (host_of(host)?, segments(path)?);
        let below = host.match_indices('.').map(|(dot, _)| Host::Below(host[dot + 1..].to_string()));
        let hosts = std::iter::once(Host::Exact(host.clone())).chain(below).chain([Host::Any]);
        for host in hosts {
            let first = path.first().map(|first| (host.clone(), Some(first.clone())));
            for place in first.into_iter().chain([(host, None)]) {
                let rules = self.places.get(&place).into_iter().flatten();
                if let Some(found) = rules.copied().find(|index| self.patterns[*index].fits(&path, method)) {
                    return Some(found);
                }
            }
        }
        None
    }
}

/// A host without its port, in lower case.
fn host_of(text: &str) -> Option<String> {
    let name = text.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    let name = name.map_or(text, |(name, _)| name).trim_end_matches('.');
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:[]".contains(&byte);
    let sound = !name.is_empty() && name.len() <= 253 && name.bytes().all(good);
    sound.then(|| name.to_ascii_lowercase())
}

/// The segments of a path as a server would take them: without query, decoded, without empty and dot segments, so that no
/// other way of writing a path gets past a rule. A path that leads out of the root, or does not decode, is none.
fn segments(path: &str) -> Option<Vec<String>> {
    let path = path.split(['?', '#']).next()?;
    if !path.starts_with('/') || path.len() > TEXT_MAX {
        return None;
    }
    let mut found: Vec<String> = Vec::new();
    for segment in decoded(path)?.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(found.pop()?),
            text => found.push(text.to_string()),
        }
    }
    Some(found)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn table(rules: &[(Option<&str>, &str, &[&str], i32)]) -> Table {
        let read = |(host, path, methods, priority): &(Option<&str>, &str, &[&str], i32)| {
            (Pattern::parse(*host, path, methods).expect("a pattern"), *priority)
        };
        Table::new(rules.iter().map(read).collect())
    }

    #[test]
    fn the_most_specific_rule_wins_and_then_the_lower_priority() {
        let table = table(&[
            (None, "/**", &[], 0),
            (Some("*.example.com"), "/scan/**", &[], 0),
            (Some("api.example.com"), "/scan/*", &[], 0),
            (Some("api.example.com"), "/scan/now", &[], 9),
            (Some("api.example.com"), "/scan/now", &[], 1),
            (Some("api.example.com"), "/scan/now", &["POST"], 20),
        ]);
        let find = |host, path, method| table.find(host, path, method);
        assert_eq!(find("API.example.com:443", "/scan/now?x=1", "POST"), Some(5));
        assert_eq!(find("api.example.com", "/scan/now", "GET"), Some(4));
        assert_eq!(find("api.example.com", "/scan/7", "GET"), Some(2));
        assert_eq!(find("api.example.com", "/scan/7/8", "GET"), Some(1));
        assert_eq!(find("a.b.example.com", "/scan", "GET"), Some(1));
        assert_eq!(find("example.com", "/scan", "GET"), Some(0));
        assert_eq!(find("other.net", "/", "GET"), Some(0));
    }

    #[test]
    fn no_other_way_of_writing_a_path_gets_past_a_rule() {
        let table = table(&[(None, "/scan/**", &[], 0)]);
        for path in
            ["/scan", "//scan/", "/%73can/a", "/x/../scan/a", "/./scan", "/x/%2e%2e/scan", "/x%2f..%2fscan"]
        {
            assert_eq!(table.find("h", path, "GET"), Some(0), "{path}");
        }
        for path in ["/scanner", "/scan/../x", "/", "scan", "/../scan", "/%zz", "/scan%00"] {
            assert_eq!(table.find("h", path, "GET"), None, "{path}");
        }
    }

    #[test]
    fn what_cannot_be_a_pattern_is_named() {
        assert_eq!(Pattern::parse(Some("a b"), "/", &[]), Err("host"));
        assert_eq!(Pattern::parse(None, "x", &[]), Err("path"));
        assert_eq!(Pattern::parse(None, "/**/x", &[]), Err("path"));
        assert_eq!(Pattern::parse(None, "/", &["get"]), Err("methods"));
    }
}
