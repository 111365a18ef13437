//! Definition files from disk.

use super::Failure;
use std::path::{Path, PathBuf};
use trueup_sql::{Definitions, SourceFile, compile};

/// Compiles a file of SQL, or all `.sql` files of a folder in the order of their names.
pub(super) fn load(path: &Path) -> Result<Definitions, Failure> {
    let read = |path: PathBuf| -> Result<SourceFile, Failure> {
        let text = std::fs::read_to_string(&path)
            .map_err(|e| format!("error: cannot read definitions {}: {e}", path.display()))?;
        Ok(SourceFile { name: path.display().to_string(), text })
    };
    let mut paths = vec![path.to_path_buf()];
    if path.is_dir() {
        let listed = std::fs::read_dir(path)
            .map_err(|e| format!("error: cannot list {}: {e}", path.display()))?;
        paths = listed.filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.retain(|path| path.extension().is_some_and(|end| end == "sql"));
        paths.sort();
    }
    if paths.is_empty() {
        return Err(format!("error: no .sql file in {}", path.display()).into());
    }
    let files = paths.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
    Ok(compile(&files)?)
}
