//! The rules about who depends on whom: core on nothing that could do I/O, the crates in one direction,
//! the SQL driver in the store alone.
//!
//! Reads what Cargo itself says of the manifests, so that no way of writing a dependency is missed.

use serde_json::Value;

use super::Finding;

/// Drivers of databases; only the store may name one, even for its tests.
const SQL_DRIVERS: [&str; 7] =
    ["rusqlite", "refinery", "sqlx", "tokio-postgres", "mysql_async", "libsqlite3-sys", "redis"];

/// A rival in the benchmark: the same debits by MariaDB alone, one transaction each, as `pgbench` does it for PostgreSQL.
const RIVAL: (&str, &str) = ("xtask", "mysql_async");

/// Which of our crates each may use. A crate that is missing here may use none.
const DIRECTION: [(&str, &[&str]); 6] = [
    ("purser-core", &[]),
    ("purser-store", &["purser-core"]),
    ("purser-remote", &["purser-core"]),
    ("purser-app", &["purser-store", "purser-remote", "purser-core"]),
    ("purser-server", &["purser-app", "purser-core"]),
    ("xtask", &[]),
];

/// What core may be built with besides Rust's own library.
const CORE_MAY_USE: [&str; 1] = ["blake3"];

/// One package of the workspace and what it asks for.
pub(super) struct Package {
    name: String,
    manifest: String,
    dependencies: Vec<Dependency>,
}

struct Dependency {
    name: String,
    for_tests: bool,
}

/// Takes the packages out of what `cargo metadata` printed.
pub(super) fn packages(metadata: &Value) -> Result<Vec<Package>, String> {
    let list = metadata["packages"].as_array().ok_or("cargo metadata lists no packages")?;
    let root = metadata["workspace_root"].as_str().unwrap_or_default();
    let mut packages = Vec::new();
    for package in list {
        let mut dependencies = Vec::new();
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            dependencies.push(Dependency {
                name: dependency["name"].as_str().unwrap_or_default().to_string(),
                for_tests: dependency["kind"] == "dev",
            });
        }
        let manifest = package["manifest_path"].as_str().unwrap_or_default();
        packages.push(Package {
            name: package["name"].as_str().unwrap_or_default().to_string(),
            manifest: manifest.trim_start_matches(root).trim_start_matches('/').to_string(),
            dependencies,
        });
    }
    Ok(packages)
}

/// All rules of this file.
pub(super) fn check(packages: &[Package]) -> Vec<Finding> {
    packages
        .iter()
        .flat_map(|package| {
            let mut found = against_the_direction(package);
            found.extend(core_depends_on_more(package));
            found.extend(sql_driver_outside_store(package));
            found
        })
        .collect()
}

fn against_the_direction(package: &Package) -> Vec<Finding> {
    let allowed = DIRECTION.iter().find(|(name, _)| *name == package.name).map_or(&[][..], |(_, may)| *may);
    let ours = |name: &str| DIRECTION.iter().any(|(known, _)| *known == name);
    let wrong = package.dependencies.iter().filter(|dependency| {
        let name = dependency.name.as_str();
        ours(name) && !allowed.contains(&name) && name != package.name
    });
    let message = |name: &str| {
        format!("{} may not depend on {name}: server -> app -> store, remote -> core", package.name)
    };
    wrong.map(|dependency| Finding::new(&package.manifest, 0, message(&dependency.name))).collect()
}

fn core_depends_on_more(package: &Package) -> Vec<Finding> {
    if package.name != "purser-core" {
        return Vec::new();
    }
    let more = package
        .dependencies
        .iter()
        .filter(|dependency| !dependency.for_tests && !CORE_MAY_USE.contains(&dependency.name.as_str()));
    let message = |name: &str| format!("core may not depend on {name}: it decides, and can do nothing else");
    more.map(|dependency| Finding::new(&package.manifest, 0, message(&dependency.name))).collect()
}

fn sql_driver_outside_store(package: &Package) -> Vec<Finding> {
    if package.name == "purser-store" {
        return Vec::new();
    }
    let drivers = package.dependencies.iter().filter(|found| {
        let name = found.name.as_str();
        SQL_DRIVERS.contains(&name) && (package.name.as_str(), name) != RIVAL
    });
    let message =
        |name: &str| format!("{} may not depend on {name}: only the store knows SQL and Redis", package.name);
    drivers.map(|driver| Finding::new(&package.manifest, 0, message(&driver.name))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings_for(name: &str, dependencies: &[(&str, bool)]) -> Vec<String> {
        let dependencies = dependencies
            .iter()
            .map(|(name, for_tests)| Dependency { name: (*name).to_string(), for_tests: *for_tests })
            .collect();
        let package = Package { name: name.to_string(), manifest: "Cargo.toml".to_string(), dependencies };
        check(&[package]).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_dependency_of_core_is_found_and_one_of_its_tests_is_not() {
        let found = findings_for("purser-core", &[("blake3", false), ("serde", false), ("proptest", true)]);
        assert!(found.len() == 1 && found[0].contains("serde"), "{found:?}");
    }

    #[test]
    fn a_crate_that_looks_up_is_found() {
        assert_eq!(findings_for("purser-server", &[("purser-store", false)]).len(), 1);
        assert_eq!(findings_for("purser-store", &[("purser-remote", true)]).len(), 1);
        assert_eq!(findings_for("purser-core", &[("purser-app", true)]).len(), 1);
        assert_eq!(findings_for("purser-novel", &[("purser-core", false)]).len(), 1);
        assert!(findings_for("purser-server", &[("purser-app", false), ("purser-core", false)]).is_empty());
        assert!(findings_for("purser-app", &[("purser-store", false), ("purser-remote", false)]).is_empty());
    }

    #[test]
    fn a_database_driver_outside_the_store_is_found() {
        assert_eq!(findings_for("purser-server", &[("rusqlite", true)]).len(), 1);
        assert_eq!(findings_for("purser-app", &[("redis", false)]).len(), 1);
        assert!(findings_for("purser-store", &[("rusqlite", false), ("redis", false)]).is_empty());
    }

    #[test]
    fn packages_are_read_from_what_cargo_prints() {
        let metadata = serde_json::json!({
            "workspace_root": "/r",
            "packages": [{"name": "purser-core", "manifest_path": "/r/crates/core/Cargo.toml", "dependencies": [
                {"name": "tokio", "kind": null}, {"name": "insta", "kind": "dev"}, {"name": "cc", "kind": "build"},
            ]}],
        });
        let found: Vec<String> =
            check(&packages(&metadata).expect("well formed")).iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("crates/core/Cargo.toml: core may not depend on tokio"), "{found:?}");
    }
}
