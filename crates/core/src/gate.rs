//! Which rule of the gate a request falls under: by host, path and method, the most specific first.
//!
//! A host is exact, `*.example.com` (every name below it) or any. A path is made of segments: text stands for itself, `*` for
//! one segment, `**` at the end for whatever is left, nothing included. The more specific host wins, then the more specific
//! path (segment by segment: text, `*`, `**`), then a rule that names methods, then the lower priority, then the earlier rule.
//! What a rule does with a request is said here too; doing it is the use case's. What the segments of a path are depends on who
//! reads it: `path` has all readings, and a request passes only where they agree.

mod path;

use crate::amount::Quantity;
use crate::key::Key;
use crate::time::Timestamp;
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

/// The longest path that is looked at, in bytes.
pub const PATH_MAX: usize = 2_048;
/// The longest host that is looked at, with its port, in bytes.
const HOST_MAX: usize = 260;
/// The most methods that a rule may name.
pub const METHODS_MAX: usize = 16;

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
    host_said: Option<String>,
    path_said: String,
}

/// A rule of the gate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    /// The operator's name for it.
    pub key: Key,
    /// The requests it is for.
    pub pattern: Pattern,
    /// Among rules that are as specific, the lower goes first.
    pub priority: i32,
    /// Whether it is looked at.
    pub active: bool,
    /// What happens to a request that falls under it.
    pub effect: Effect,
    /// When it was made.
    pub created_at: Timestamp,
    /// Since when it says what it says.
    pub changed_at: Timestamp,
}

/// What happens to a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// It passes once it is paid for.
    Charge(Charging),
    /// It passes.
    Free,
    /// It does not pass.
    Deny,
}

/// What a request costs, and who pays.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Charging {
    /// The action that is charged.
    pub action: Key,
    /// How much of it.
    pub quantity: Quantity,
    /// The tenant that pays.
    pub tenant: TenantFrom,
    /// The header, set by the proxy, that says who the user is.
    pub user_header: String,
    /// What is in that header.
    pub user_is: UserIs,
    /// Whether the request passes when the ledger cannot be asked.
    pub open: bool,
}

/// Where a request's tenant comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TenantFrom {
    /// Each user has its own.
    Personal,
    /// All requests have this one.
    Fixed(Key),
    /// A header that the proxy sets.
    Header(String),
}

/// What the header of a user holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UserIs {
    /// The user's key.
    Key,
    /// A secret of the user, such as an API key of the product: the user is called by a digest of it, so that the secret is
    /// kept nowhere.
    Credential,
}

impl UserIs {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            UserIs::Key => "key",
            UserIs::Credential => "credential",
        }
    }
}

/// A request that no rule can be looked up for: its host, path or method is not one that a server would take, or is too long.
/// It must not pass: what cannot be read falls under no rule, and so would be free.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unreadable {
    /// The host.
    Host,
    /// The path.
    Path,
    /// The method.
    Method,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Host {
    Exact(String),
    Below(String),
    Any,
}

/// Why a request does not pass, where it is not the ledger that refuses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// Its rule says so.
    Denied,
    /// The proxy does not say who the user is.
    NoUser,
    /// The proxy does not say which request it is.
    NoRequestId,
    /// It was charged so long ago that it cannot be the same request still.
    Repeated,
    /// It cannot be read, so no rule can be looked up for it.
    Unreadable(Unreadable),
}

impl Refusal {
    /// The stable code.
    pub fn code(self) -> &'static str {
        match self {
            Refusal::Denied => "gate_denied",
            Refusal::NoUser => "gate_user_required",
            Refusal::NoRequestId => "gate_request_id_required",
            Refusal::Repeated => "gate_request_repeated",
            Refusal::Unreadable(_) => "gate_request_unreadable",
        }
    }

    /// The HTTP status.
    pub fn status(self) -> u16 {
        match self {
            Refusal::Denied => 403,
            Refusal::NoUser => 401,
            Refusal::NoRequestId | Refusal::Unreadable(_) => 400,
            Refusal::Repeated => 409,
        }
    }
}

impl Pattern {
    /// Reads a pattern. No host means any, no methods means all of them.
    ///
    /// # Errors
    /// The field that cannot be read: `host`, `path` or `methods`.
    pub fn parse(host: Option<&str>, path: &str, methods: &[&str]) -> Result<Pattern, &'static str> {
        let (host_said, path_said) = (host.map(str::to_string), path.to_string());
        let host = match host {
            None => Host::Any,
            Some(text) => match text.strip_prefix("*.") {
                Some(below) => Host::Below(portless(below).ok_or("host")?),
                None => Host::Exact(portless(text).ok_or("host")?),
            },
        };
        let path = path::pattern(path).ok_or("path")?;
        let early = path.iter().rev().skip(1).any(|segment| *segment == Segment::Rest);
        if early {
            return Err("path");
        }
        if methods.len() > METHODS_MAX || !methods.iter().all(|method| is_method(method)) {
            return Err("methods");
        }
        let methods = methods.iter().map(ToString::to_string).collect();
        Ok(Pattern { host, path, methods, host_said, path_said })
    }

    /// The host as it was given; none for any.
    pub fn host(&self) -> Option<&str> {
        self.host_said.as_deref()
    }

    /// The path as it was given.
    pub fn path(&self) -> &str {
        &self.path_said
    }

    /// The methods; none for all of them.
    pub fn methods(&self) -> &[String] {
        &self.methods
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
    hosts: HashSet<Host>,
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
        let patterns: Vec<Pattern> = rules.into_iter().map(|(pattern, _)| pattern).collect();
        let hosts = patterns.iter().map(|pattern| pattern.host.clone()).collect();
        Table { patterns, places, hosts }
    }

    /// The place of the rule for a request; none where no rule fits.
    ///
    /// # Errors
    /// What of the request cannot be read.
    pub fn find(&self, host: &str, path: &str, method: &str) -> Result<Option<usize>, Unreadable> {
        let host = host_of(host).ok_or(Unreadable::Host)?;
        let readings = path::readings(path).ok_or(Unreadable::Path)?;
        if !is_method(method) {
            return Err(Unreadable::Method);
        }
        let below = host.match_indices('.').map(|(dot, _)| Host::Below(host[dot + 1..].to_string()));
        let hosts: Vec<Host> =
            std::iter::once(Host::Exact(host.clone())).chain(below).chain([Host::Any]).collect();
        // Where no rule is for the host, nothing can be got past.
        if readings.doubtful && hosts.iter().any(|host| self.hosts.contains(host)) {
            return Err(Unreadable::Path);
        }
        let mut found = readings.paths.iter().map(|path| self.place(&hosts, path, method));
        let first = found.next().flatten();
        if found.all(|other| other == first) { Ok(first) } else { Err(Unreadable::Path) }
    }

    /// The rule for one reading of a path.
    fn place(&self, hosts: &[Host], path: &[String], method: &str) -> Option<usize> {
        for host in hosts {
            let first = path.first().map(|first| (host.clone(), Some(first.clone())));
            for place in first.into_iter().chain([(host.clone(), None)]) {
                let rules = self.places.get(&place).into_iter().flatten();
                if let Some(found) = rules.copied().find(|index| self.patterns[*index].fits(path, method)) {
                    return Some(found);
                }
            }
        }
        None
    }
}

fn is_method(text: &str) -> bool {
    (1..=32).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-')
}

/// A host without its port, in lower case.
fn host_of(text: &str) -> Option<String> {
    if text.len() > HOST_MAX {
        return None;
    }
    let name = text.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    let name = name.map_or(text, |(name, _)| name).trim_end_matches('.');
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:[]".contains(&byte);
    let sound = !name.is_empty() && name.len() <= 253 && name.bytes().all(good);
    sound.then(|| name.to_ascii_lowercase())
}

/// The host of a rule, which has no port: requests are looked up without theirs.
fn portless(text: &str) -> Option<String> {
    host_of(text).filter(|name| name.len() == text.trim_end_matches('.').len())
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
        let find = |host, path, method| table.find(host, path, method).expect("readable");
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
        let table = table(&[(None, "/Scan/**", &[], 0)]);
        for path in [
            "/scan",
            "/%73can/a",
            "/SCAN/a",
            "/%53caN",
            "/scan//",
            "/scan/./x",
            "/scan/a%2fb",
            "/\u{17f}can/a",
        ] {
            assert_eq!(table.find("h", path, "GET"), Ok(Some(0)), "{path}");
        }
        for path in ["/scanner", "/", "/x/../y", "//x", "/x%2fscan"] {
            assert_eq!(table.find("h", path, "GET"), Ok(None), "{path}");
        }
    }

    #[test]
    fn a_path_that_servers_read_differently_is_refused_where_the_rule_depends_on_it() {
        let table = table(&[(None, "/scan/**", &[], 0), (None, "/open/*/x", &[], 0)]);
        for path in [
            "/scan/../x",
            "/scan/..%2fx",
            "/scan/%2e%2e/x",
            "/x/../scan",
            "/x%2f..%2fscan",
            "//scan",
            "/./scan",
            "/scan%2fa",
            "/%2fscan",
            "/open//x",
            "/open/a%2fb/x",
            "/scan%3fx",
            "/scan%23x",
            "/z/../scan%2f..%2fx",
        ] {
            assert_eq!(table.find("h", path, "GET"), Err(Unreadable::Path), "{path}");
        }
        // A rule for all that is left takes every reading in.
        let closed = super::Table::new(vec![(Pattern::parse(None, "/**", &[]).expect("a pattern"), 0)]);
        assert_eq!(closed.find("h", "/scan/..%2fx", "GET"), Ok(Some(0)));
    }

    #[test]
    fn what_some_servers_cut_or_decode_again_is_refused_on_hosts_that_have_rules() {
        let table = table(&[(Some("a.example.com"), "/scan/**", &[], 0)]);
        for path in [
            "/scan;x",
            "/x/;/scan",
            "/x%3bscan",
            "/x\\scan",
            "/x%5c..%5cscan",
            "/%2573can",
            "/x#/scan",
            "/scan%0a",
        ] {
            assert_eq!(table.find("a.example.com", path, "GET"), Err(Unreadable::Path), "{path}");
            assert_eq!(table.find("b.example.com", path, "GET"), Ok(None), "{path}");
        }
        // Only the path counts.
        assert_eq!(table.find("a.example.com", "/x?a=1;b=%25#c", "GET"), Ok(None));
    }

    #[test]
    fn what_cannot_be_read_is_never_taken_for_what_no_rule_is_for() {
        let table = table(&[]);
        let long = format!("/{}", "x".repeat(PATH_MAX));
        for path in ["scan", "/../scan", "/%zz", "/scan%00", "/%ff", "", &long] {
            assert_eq!(table.find("h", path, "GET"), Err(Unreadable::Path), "{path}");
        }
        for host in ["", "a b", "a/b", &"x".repeat(254), &format!("h:{}", "1".repeat(260))] {
            assert_eq!(table.find(host, "/", "GET"), Err(Unreadable::Host), "{host}");
        }
        for method in ["", "get", "A B", &"X".repeat(33)] {
            assert_eq!(table.find("h", "/", method), Err(Unreadable::Method), "{method}");
        }
    }

    #[test]
    fn of_very_many_rules_one_is_found_without_looking_at_the_others() {
        let rules = (0..10_000).map(|no| {
            let (host, path) = (format!("h{}.example.com", no % 100), format!("/p{}/**", no / 100));
            (Pattern::parse(Some(&host), &path, &[]).expect("a pattern"), 0)
        });
        let table = Table::new(rules.collect());
        assert!(table.places.values().all(|rules| rules.len() == 1));
        assert_eq!(table.find("h7.example.com", "/p42/x", "GET"), Ok(Some(4_207)));
    }

    #[test]
    fn what_cannot_be_a_pattern_is_named() {
        assert_eq!(Pattern::parse(Some("a b"), "/", &[]), Err("host"));
        assert_eq!(Pattern::parse(None, "x", &[]), Err("path"));
        assert_eq!(Pattern::parse(None, "/**/x", &[]), Err("path"));
        for path in [
            "/x?y", "/paid*", "/*.pdf", "/***", "/a//b", "/a/./b", "/a/../b", "/a%2fb", "/a;b", "/a\\b",
            "/a%25b", "/%zz",
        ] {
            assert_eq!(Pattern::parse(None, path, &[]), Err("path"), "{path}");
        }
        for host in ["a.example.com:8080", "*.example.com:443", "a:"] {
            assert_eq!(Pattern::parse(Some(host), "/", &[]), Err("host"), "{host}");
        }
        assert_eq!(Pattern::parse(None, "/", &["get"]), Err("methods"));
        assert_eq!(Pattern::parse(None, "/", &["X"; METHODS_MAX + 1]), Err("methods"));
    }
}
