//! The checkout as xtask sees it: its root, its files, where Cargo puts what it builds.
//!
//! Never writes anything. Read next: `tidy`, which judges the files found here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Folders that hold nothing written by hand.
const SKIPPED_FOLDERS: [&str; 4] = ["target", ".git", "node_modules", ".venv"];

/// One text file of the checkout, by its path relative to the root with forward slashes.
pub(crate) struct SourceFile {
    pub(crate) path: String,
    pub(crate) text: String,
}

/// The root of the workspace: the parent of xtask's own folder, so that it does not matter where
/// `cargo xtask` was typed.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace").to_path_buf()
}

/// Every text file of the checkout, in the order of its path. Files that are not UTF-8 are left out.
pub(crate) fn files(root: &Path) -> std::io::Result<Vec<SourceFile>> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for item in fs::read_dir(&folder)? {
            let item = item?;
            let (path, kind) = (item.path(), item.file_type()?);
            if kind.is_dir() {
                let name = item.file_name();
                if !SKIPPED_FOLDERS.iter().any(|skipped| name == *skipped) {
                    folders.push(path);
                }
            } else if kind.is_file() {
                let Ok(text) = fs::read_to_string(&path) else { continue };
                let relative = path.strip_prefix(root).expect("found below the root");
                found.push(SourceFile { path: relative.to_string_lossy().replace('\\', "/"), text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// The Cargo that called us (or the one on the path), in the root of the checkout.
pub(crate) fn cargo(root: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root);
    command
}

/// What `cargo metadata` says about the workspace itself, without its dependencies' own dependencies.
pub(crate) fn metadata(root: &Path) -> Result<serde_json::Value, String> {
    let output = cargo(root)
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .output()
        .map_err(|error| format!("cargo metadata: {error}"))?;
    if !output.status.success() {
        return Err(format!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr)));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| format!("cargo metadata: {error}"))
}

/// The folder that Cargo builds into, wherever the environment or the configuration has moved it.
pub(crate) fn target_folder(root: &Path) -> Result<PathBuf, String> {
    let metadata = metadata(root)?;
    let folder = metadata["target_directory"].as_str().ok_or("cargo metadata names no target_directory")?;
    Ok(PathBuf::from(folder))
}

/// The commit that is checked out, and ` (with uncommitted changes)` where the working tree differs.
pub(crate) fn commit(root: &Path) -> String {
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).current_dir(root).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_string())
    };
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else { return "not a checkout".to_string() };
    match git(&["status", "--porcelain", "--untracked-files=no"]) {
        Some(changes) if changes.is_empty() => commit,
        _ => format!("{commit} (with uncommitted changes)"),
    }
}
