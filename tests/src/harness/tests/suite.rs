//! The suite itself: every test file is compiled, `./test` runs each module once, and the map in `tests/README.md` is whole.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::harness::Result;

fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The entries of a directory that may be modules, by the names they would have, with their sources.
fn module_files(dir: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let is_source = path.extension().is_some_and(|extension| extension == "rs");
        let is_module = if path.is_dir() { name != "snapshots" } else { is_source && name != "main" && name != "mod" };
        if is_module {
            found.insert(name, path);
        }
    }
    Ok(found)
}

/// The modules that a source declares, with a body or without.
fn declared(source: &Path) -> Result<BTreeSet<String>> {
    let text = fs::read_to_string(source)?;
    let modules = text.lines().filter_map(|line| line.trim_start().strip_prefix("mod "));
    Ok(modules.filter_map(|line| line.split([';', ' ']).next()).map(str::to_owned).collect())
}

/// The areas, each with its modules.
fn areas() -> Result<BTreeMap<String, BTreeSet<String>>> {
    let areas = module_files(&package().join("tests"))?;
    areas.into_iter().map(|(name, dir)| Ok((name, declared(&dir.join("main.rs"))?))).collect()
}

/// The lists of `./test`: a lane's modules, each with its area.
fn lane(name: &str) -> Result<Vec<(String, String)>> {
    let command = fs::read_to_string(package().join("../test"))?;
    let list = command.split_once(&format!("\n{name}=\"")).and_then(|(_, rest)| rest.split_once('"'));
    let modules = list.map_or("", |(list, _)| list).split_whitespace();
    Ok(modules.filter_map(|module| module.split_once("::")).map(|(a, b)| (a.to_owned(), b.to_owned())).collect())
}

/// Modules of a directory that its own source does not declare, and so on below it.
fn left_out(dir: &Path, source: &Path) -> Result<Vec<PathBuf>> {
    let (files, declared) = (module_files(dir)?, declared(source)?);
    let mut missing: Vec<_> =
        files.iter().filter(|(name, _)| !declared.contains(*name)).map(|(_, p)| p.clone()).collect();
    for dir in files.values().filter(|path| path.is_dir()) {
        missing.extend(left_out(dir, &dir.join("mod.rs"))?);
    }
    Ok(missing)
}

#[test]
fn every_file_of_an_area_is_compiled() -> Result<()> {
    let mut missing = Vec::new();
    for dir in module_files(&package().join("tests"))?.values() {
        missing.extend(left_out(dir, &dir.join("main.rs"))?);
    }
    assert!(missing.is_empty(), "no `mod` declares {missing:#?}");
    Ok(())
}

#[test]
fn the_lanes_of_the_test_command_name_modules_that_are_there_and_none_twice() -> Result<()> {
    let areas = areas()?;
    let lanes = [lane("first_lane")?, lane("waiting_lane")?];
    assert!(lanes.iter().all(|lane| !lane.is_empty()), "{lanes:?}");

    let named = lanes.concat();
    let unknown: Vec<_> =
        named.iter().filter(|(area, module)| !areas.get(area).is_some_and(|found| found.contains(module))).collect();
    let distinct: BTreeSet<_> = named.iter().collect();

    assert!(unknown.is_empty(), "there is no {unknown:?}");
    assert_eq!(distinct.len(), named.len(), "a module is in two lanes: {named:?}");
    Ok(())
}

/// The modules below a directory or a source, at any depth.
fn below(path: &Path) -> Result<BTreeSet<String>> {
    if path.is_file() {
        return declared(path);
    }
    let mut found = declared(&path.join("mod.rs"))?;
    for path in module_files(path)?.values() {
        found.extend(below(path)?);
    }
    Ok(found)
}

/// A filter of libtest's picks every test in whose path it occurs: `folio::` picks those of `setup::folio` as well.
#[test]
fn no_lane_runs_a_test_of_another_lane() -> Result<()> {
    let lanes = [lane("first_lane")?, lane("waiting_lane")?];
    let lane_of = |area: &str, module: &str| {
        lanes.iter().position(|lane| lane.iter().any(|(a, m)| (&**a, &**m) == (area, module)))
    };
    let mut ambiguous = Vec::new();
    for (area, modules) in areas()? {
        let files = module_files(&package().join("tests").join(&area))?;
        for module in &modules {
            let inner = files.get(module).map(|path| below(path)).transpose()?.unwrap_or_default();
            let others = modules.iter().filter(|other| lane_of(&area, other) != lane_of(&area, module));
            for other in others.filter(|other| lane_of(&area, other).is_some()) {
                let picked = inner.iter().chain([module]).filter(|name| name.ends_with(&**other));
                ambiguous.extend(picked.map(|name| format!("{area}: `{other}::` picks {module}::{name}")));
            }
        }
    }
    assert!(ambiguous.is_empty(), "{ambiguous:#?}");
    Ok(())
}

#[test]
fn no_other_crates_tests_have_the_name_of_an_area() -> Result<()> {
    let areas = areas()?;
    let mut taken = Vec::new();
    for krate in fs::read_dir(package().join("../crates"))? {
        let tests = krate?.path().join("tests");
        if tests.is_dir() {
            taken.extend(module_files(&tests)?.into_iter().filter(|(name, _)| areas.contains_key(name)));
        }
    }
    assert!(taken.is_empty(), "`--test` would run both: {taken:?}");
    Ok(())
}

#[test]
fn the_map_of_the_tests_has_every_module_in_its_area_and_no_other() -> Result<()> {
    let map = fs::read_to_string(package().join("README.md"))?;
    let mut drawn = BTreeMap::new();
    for (area, modules) in areas()? {
        let section = map.split_once(&format!("\n## {area}\n")).map_or("", |(_, rest)| rest);
        let section = section.split_once("\n## ").map_or(section, |(section, _)| section);
        let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
        let rows: Vec<_> = rows.map(str::to_owned).collect();
        let distinct: BTreeSet<_> = rows.iter().cloned().collect();
        assert_eq!(distinct, modules, "tests/README.md, {area}");
        assert_eq!(distinct.len(), rows.len(), "tests/README.md names a module of {area} twice");
        drawn.insert(area, rows);
    }
    assert!(drawn.len() > 4, "{drawn:?}");
    Ok(())
}
