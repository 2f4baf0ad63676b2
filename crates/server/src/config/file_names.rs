//! File names in the configuration are relative to the file that they stand in.

use std::path::Path;

use figment::value::{Dict, Value};

/// Makes the values of keys that name files absolute (as far as the configuration's own path is).
pub(super) fn resolve_files(table: &mut Dict, base: &Path) {
    for (key, value) in table.iter_mut() {
        let names_file = key == "file" || key.ends_with("_file");
        match value {
            Value::String(_, name) if names_file && !name.is_empty() => {
                *name = base.join(&*name).to_string_lossy().into_owned();
            }
            Value::Dict(_, files) if key == "adopt_clients" => {
                for file in files.values_mut() {
                    if let Value::String(_, name) = file {
                        *name = base.join(&*name).to_string_lossy().into_owned();
                    }
                }
            }
            _ => {}
        }
    }
}
