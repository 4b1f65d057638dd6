//! Settings: the commented default file, then a file, then `PURSER_…` variables; each remembers where it came from.
//!
//! `default.toml` is the reference and is embedded, so the text that explains a setting is the text that sets it.
//! A name that is no setting is refused in a file; secrets are never shown. Read next: `cli/doctor.rs`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use purser_app::boot::{Settings, database};
use purser_app::link::origin;
use purser_app::rate::{RATE_MAX, Rate};

/// The defaults, with their explanations.
pub const DEFAULT: &str = include_str!("default.toml");
/// The file that is read when none is named, if it is there.
const FILE: &str = "purser.toml";
/// What variables begin with.
const PREFIX: &str = "PURSER_";
/// Not a setting: names the file.
const CONFIG: &str = "PURSER_CONFIG";
/// Not a setting: what clients such as `purser replay` call a server with.
pub const API_KEY: &str = "PURSER_API_KEY";
/// Settings whose values are never shown.
const SECRET: [&str; 1] = ["secret_key"];
/// Settings whose values are shown without the password in them.
const URLS: [&str; 2] = ["database_url", "database_owner_url"];

/// Where a setting came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The embedded defaults.
    Default,
    /// A file.
    File(PathBuf),
    /// An environment variable.
    Variable(String),
    /// An argument on the command line.
    Argument,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Default => f.write_str("default"),
            Source::File(path) => write!(f, "{}", path.display()),
            Source::Variable(name) => f.write_str(name),
            Source::Argument => f.write_str("command line"),
        }
    }
}

/// A setting in force.
#[derive(Clone)]
pub struct Setting {
    /// Its name.
    pub name: String,
    /// Its value as text.
    value: String,
    /// Where it came from.
    pub source: Source,
}

impl Setting {
    /// The value, unless it is a secret; a URL without its password.
    pub fn shown(&self) -> Cow<'_, str> {
        match self.value.as_str() {
            "" => Cow::Borrowed("(not set)"),
            _ if SECRET.contains(&self.name.as_str()) => Cow::Borrowed("(set, not shown)"),
            url if URLS.contains(&self.name.as_str()) => Cow::Owned(database::shown(url)),
            value if self.name.ends_with("_url") => without_password(value),
            value => Cow::Borrowed(value),
        }
    }
}

impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {} ({})", self.name, self.shown(), self.source)
    }
}

/// A URL as it may be shown: what stands between the user's name and the host is a secret.
fn without_password(url: &str) -> Cow<'_, str> {
    let Some((scheme, rest)) = url.split_once("://") else { return Cow::Borrowed(url) };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    // The last @ of the authority, as a password that was not encoded may hold others.
    let Some(at) = rest[..end].rfind('@') else { return Cow::Borrowed(url) };
    let Some(colon) = rest[..at].find(':') else { return Cow::Borrowed(url) };
    Cow::Owned(format!("{scheme}://{}:***{}", &rest[..colon], &rest[at..]))
}

/// A setting that cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigError(String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines, one object a line.
    Json,
}

/// All settings, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// For the application.
    pub app: Settings,
    /// Where to listen.
    pub listen: SocketAddr,
    /// Threads of the HTTP side.
    pub workers: usize,
    /// Open connections.
    pub connections_max: usize,
    /// What is logged.
    pub log: String,
    /// How it is logged.
    pub log_format: LogFormat,
    /// The settings in force, by name.
    pub settings: Vec<Setting>,
    /// Variables that look like settings and are none.
    pub unknown_variables: Vec<String>,
}

/// What the settings are read from.
pub struct Surroundings {
    /// The file named on the command line.
    pub file: Option<PathBuf>,
    /// Name and value of every environment variable.
    pub variables: Vec<(String, String)>,
    /// Settings given on the command line.
    pub arguments: Vec<(&'static str, String)>,
    /// The folder in which `purser.toml` is looked for.
    pub folder: PathBuf,
}

impl Surroundings {
    /// Those of this process.
    pub fn of_process(file: Option<PathBuf>, arguments: Vec<(&'static str, String)>) -> Surroundings {
        // A variable that is not text cannot be one of ours.
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        let variables = std::env::vars_os().filter_map(text).collect();
        Surroundings { file, variables, arguments, folder: PathBuf::from(".") }
    }
}

impl Config {
    /// Whether nobody set this setting.
    pub fn is_default(&self, name: &str) -> bool {
        self.settings.iter().any(|setting| setting.name == name && setting.source == Source::Default)
    }

    /// Reads, layers and checks the settings.
    pub fn read(surroundings: &Surroundings) -> Result<Config, ConfigError> {
        let mut settings = BTreeMap::new();
        layer(&mut settings, DEFAULT, &Source::Default, true)?;
        if let Some((path, text)) = file(surroundings)? {
            layer(&mut settings, &text, &Source::File(path), false)?;
        }
        let mut unknown_variables = Vec::new();
        for (variable, value) in &surroundings.variables {
            let Some(name) = variable.strip_prefix(PREFIX) else { continue };
            match settings.get_mut(&name.to_ascii_lowercase()) {
                Some(setting) if name.bytes().all(|byte| !byte.is_ascii_lowercase()) => {
                    setting.value.clone_from(value);
                    setting.source = Source::Variable(variable.clone());
                }
                _ if [CONFIG, API_KEY].contains(&variable.as_str()) => {}
                _ => unknown_variables.push(variable.clone()),
            }
        }
        for (name, value) in &surroundings.arguments {
            let setting = settings.get_mut(*name).expect("arguments are named like settings");
            setting.value.clone_from(value);
            setting.source = Source::Argument;
        }
        unknown_variables.sort();
        checked(&settings, unknown_variables)
    }
}

fn file(surroundings: &Surroundings) -> Result<Option<(PathBuf, String)>, ConfigError> {
    let variable = surroundings.variables.iter().find(|(name, _)| name == CONFIG);
    let named = surroundings.file.clone().or_else(|| variable.map(|(_, path)| PathBuf::from(path)));
    let path = named.clone().unwrap_or_else(|| surroundings.folder.join(FILE));
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some((path, text))),
        Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ConfigError(format!("{}: {error}", path.display()))),
    }
}

fn layer(
    settings: &mut BTreeMap<String, Setting>,
    text: &str,
    source: &Source,
    first: bool,
) -> Result<(), ConfigError> {
    let table: toml::Table = text.parse().map_err(|error| ConfigError(format!("{source}: {error}")))?;
    for (name, value) in table {
        if !first && !settings.contains_key(&name) {
            let known: Vec<&str> = settings.keys().map(String::as_str).collect();
            return Err(ConfigError(format!(
                "{source}: there is no setting `{name}`; there are {}",
                known.join(", ")
            )));
        }
        let value = match value {
            toml::Value::String(text) => text,
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Boolean(_)
            | toml::Value::Float(_)
            | toml::Value::Datetime(_)
            | toml::Value::Array(_)
            | toml::Value::Table(_) => {
                return Err(ConfigError(format!("{source}: `{name}` has to be text or a whole number")));
            }
        };
        settings.insert(name.clone(), Setting { name, value, source: source.clone() });
    }
    Ok(())
}

fn checked(
    settings: &BTreeMap<String, Setting>,
    unknown_variables: Vec<String>,
) -> Result<Config, ConfigError> {
    let of = |name: &str| settings.get(name).expect("every setting has a default");
    let wrong = |name: &str, why: &str| {
        let setting = of(name);
        ConfigError(format!("{name} = {} ({}): {why}", setting.shown(), setting.source))
    };
    let number = |name: &str, least: u64, most: u64| {
        let value = of(name).value.parse::<u64>().ok().filter(|value| (least..=most).contains(value));
        value.ok_or_else(|| wrong(name, &format!("has to be a whole number from {least} to {most}")))
    };
    let size = |name: &str, most: u64| {
        number(name, 1, most).map(|value| usize::try_from(value).expect("the largest fits"))
    };
    let mut app = Settings::new(&of("database_url").value);
    let secrets = of("secret_key").value.split(',').map(str::trim).filter(|key| !key.is_empty());
    app.owner_url = Some(of("database_owner_url").value.clone()).filter(|url| !url.is_empty());
    app.writers = size("writers", 16)?;
    app.secret_keys = secrets.map(str::to_string).collect();
    app.queue_max = size("queue_max", 1_000_000)?;
    app.batch_max = size("batch_max", 10_000)?;
    app.deadline = Duration::from_millis(number("deadline_ms", 10, 600_000)?);
    app.readers = size("readers", 256)?;
    app.keep_keys = Duration::from_secs(number("keep_keys_days", 1, 3_650)? * 86_400);
    app.redis_url = Some(of("redis_url").value.clone()).filter(|url| !url.is_empty());
    app.streams_max = size("streams_max", 1_000_000)?;
    let rate = |name: &str| {
        number(name, 0, u64::from(RATE_MAX)).map(|value| u32::try_from(value).expect("the largest fits"))
    };
    let (per_second, burst) = (rate("rate_limit_per_second")?, rate("rate_limit_burst")?);
    app.rate_limit = Rate::new(per_second, if burst == 0 { per_second } else { burst });
    let listen: Result<SocketAddr, _> = of("listen").value.parse();
    (app.public_url, app.return_origins) = sites(&of("public_url").value, &of("return_origins").value)
        .map_err(|(name, why)| wrong(name, why))?;
    if let (true, Ok(listen)) = (app.public_url.is_empty(), &listen) {
        app.public_url = format!("http://{listen}");
    }
    let log_format = match of("log_format").value.as_str() {
        "text" => LogFormat::Text,
        "json" => LogFormat::Json,
        _ => return Err(wrong("log_format", "has to be text or json")),
    };
    Ok(Config {
        app,
        listen: listen
            .map_err(|_| wrong("listen", "has to be an address and a port, such as 127.0.0.1:8080"))?,
        workers: size("workers", 256)?,
        connections_max: size("connections_max", 1_000_000)?,
        log: of("log").value.clone(),
        log_format,
        settings: settings.values().cloned().collect(),
        unknown_variables,
    })
}

/// What links begin with, and the sites that pages may lead back to.
fn sites(public: &str, back: &str) -> Result<(String, Vec<String>), (&'static str, &'static str)> {
    let public = public.trim_end_matches('/');
    let sound = public.is_empty() || (origin(public).is_some() && !public.contains(['?', '#']));
    if !sound {
        return Err(("public_url", "has to be an absolute http or https address"));
    }
    let listed = back.split(',').map(str::trim).filter(|site| !site.is_empty());
    let whole =
        |site: &str| origin(site).filter(|found| site.trim_end_matches('/').eq_ignore_ascii_case(found));
    let origins: Option<Vec<String>> = listed.map(whole).collect();
    let origins = origins
        .ok_or(("return_origins", "has to be sites such as https://app.example.com, separated by commas"))?;
    Ok((public.to_string(), origins))
}

/// The socket through which the command line talks to a running server: beside the database file, or in the
/// system's temporary folder where that path is too long for a socket.
pub fn admin_socket(settings: &Settings) -> Option<PathBuf> {
    /// What the system takes, less the ending zero.
    const PATH_MAX: usize = 107;
    let path = settings.sqlite_path()?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // One name however the path was spelled; a file that is not there yet has a folder that is.
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf());
    let beside = folder.join(format!("{}.admin.sock", path.file_name()?.to_str()?));
    if beside.as_os_str().len() <= PATH_MAX {
        return Some(beside);
    }
    let digest = blake3::hash(beside.as_os_str().as_encoded_bytes());
    Some(std::env::temp_dir().join(format!("purser-{}.sock", &digest.to_hex()[..32])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn surroundings(folder: &Path, variables: &[(&str, &str)]) -> Surroundings {
        let variables = variables.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        Surroundings { file: None, variables, arguments: Vec::new(), folder: folder.to_path_buf() }
    }

    fn source(config: &Config, name: &str) -> Source {
        config.settings.iter().find(|setting| setting.name == name).expect("a setting").source.clone()
    }

    #[test]
    fn a_variable_wins_over_the_file_and_the_file_over_the_default() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join(FILE), "workers = 3\nreaders = 5\n").expect("written");
        let variables =
            [("PURSER_READERS", "7"), ("PURSER_REDERS", "8"), ("PURSER_API_KEY", "psk"), ("OTHER", "9")];
        let config = Config::read(&surroundings(folder.path(), &variables)).expect("sound");
        assert_eq!((config.workers, config.app.readers, config.app.batch_max), (3, 7, 1_000));
        assert_eq!(source(&config, "workers"), Source::File(folder.path().join(FILE)));
        assert_eq!(source(&config, "readers"), Source::Variable("PURSER_READERS".to_string()));
        assert_eq!(source(&config, "batch_max"), Source::Default);
        assert_eq!(config.unknown_variables, ["PURSER_REDERS"]);
    }

    #[test]
    fn the_default_file_says_what_the_application_would_do_without_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = Config::read(&surroundings(folder.path(), &[])).expect("sound");
        let own = Settings::new("sqlite:purser.db");
        assert_eq!(format!("{:?}", config.app), format!("{own:?}"));
        assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    }

    #[test]
    fn a_setting_that_cannot_be_used_is_refused_with_its_source() {
        let folder = tempfile::tempdir().expect("a folder");
        let refused = |variables: &[(&str, &str)]| {
            Config::read(&surroundings(folder.path(), variables)).expect_err("not sound").to_string()
        };
        assert!(refused(&[("PURSER_WORKERS", "0")]).contains("workers = 0 (PURSER_WORKERS)"));
        assert!(refused(&[("PURSER_LISTEN", "here")]).contains("an address and a port"));
        assert!(refused(&[("PURSER_LOG_FORMAT", "xml")]).contains("text or json"));
        assert!(refused(&[("PURSER_CONFIG", "/nowhere/purser.toml")]).contains("/nowhere/purser.toml"));
        std::fs::write(folder.path().join(FILE), "wokers = 3\n").expect("written");
        assert!(refused(&[]).contains("there is no setting `wokers`"));
    }

    #[test]
    fn a_secret_is_never_shown() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = Config::read(&surroundings(folder.path(), &[("PURSER_SECRET_KEY", "c0ffee, 0ff1ce")]));
        let config = config.expect("sound");
        assert_eq!(config.app.secret_keys, ["c0ffee", "0ff1ce"]);
        let secret = config.settings.iter().find(|setting| setting.name == "secret_key").expect("a setting");
        assert_eq!(secret.shown(), "(set, not shown)");
        let variables = [("PURSER_DATABASE_URL", "postgres://purser:hunter2@db/ledger")];
        let config = Config::read(&surroundings(folder.path(), &variables)).expect("sound");
        let url = config.settings.iter().find(|setting| setting.name == "database_url").expect("a setting");
        assert_eq!(url.shown(), "postgres://purser@db:5432/ledger");
        assert!(!format!("{config:?}").contains("hunter2"));
    }

    #[test]
    fn a_url_is_shown_without_its_password() {
        for (url, shown) in [
            ("redis://:p@s:s@cache:6379/0", "redis://:***@cache:6379/0"),
            (
                "postgres://app:secret@db/purser?sslmode=require",
                "postgres://app:***@db/purser?sslmode=require",
            ),
            ("postgres://app@db/purser", "postgres://app@db/purser"),
            ("redis://cache/", "redis://cache/"),
            ("sqlite:a:b@c.db", "sqlite:a:b@c.db"),
        ] {
            assert_eq!(without_password(url), shown);
        }
    }

    #[test]
    fn a_rate_without_a_burst_is_a_burst_of_a_second() {
        let folder = tempfile::tempdir().expect("a folder");
        let limit = |per_second, burst| {
            let variables =
                [("PURSER_RATE_LIMIT_PER_SECOND", per_second), ("PURSER_RATE_LIMIT_BURST", burst)];
            Config::read(&surroundings(folder.path(), &variables)).expect("sound").app.rate_limit
        };
        assert_eq!(limit("0", "0"), None);
        assert_eq!(limit("0", "50"), None);
        assert_eq!(limit("20", "0"), Rate::new(20, 20));
        assert_eq!(limit("20", "50"), Rate::new(20, 50));
    }

    #[test]
    fn the_admin_socket_lies_beside_the_database_unless_the_path_is_too_long() {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = |name: &str| {
            admin_socket(&Settings::new(format!("sqlite:{}", folder.path().join(name).display())))
        };
        let near = socket("purser.db").expect("a path");
        assert_eq!(near, folder.path().canonicalize().expect("there").join("purser.db.admin.sock"));
        let far = socket(&"x".repeat(120)).expect("a path");
        assert!(far.as_os_str().len() <= 107 && far.starts_with(std::env::temp_dir()));
        assert_eq!(admin_socket(&Settings::new("postgres://h/d")), None);
    }
}
