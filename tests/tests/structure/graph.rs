//! Which file uses which: resolves the paths of [`Modules`] to the files that declare the items.

use crate::module::{ModuleId, Name};
use crate::modules::Modules;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Which file uses names of which other file.
#[derive(Default)]
pub struct Graph {
    pub arrows: BTreeMap<PathBuf, BTreeMap<PathBuf, BTreeSet<String>>>,
    parents: BTreeMap<PathBuf, PathBuf>,
}

/// What a path refers to.
#[derive(Clone, Copy)]
enum Target<'a> {
    Module(ModuleId),
    /// The item of this name that the module declares.
    Item(ModuleId, &'a str),
}

impl Graph {
    pub fn of(modules: &Modules) -> Self {
        let mut graph = Self::default();
        for (id, module) in modules.0.iter().enumerate() {
            if let Some(parent) = modules.parent_file(&module.file) {
                graph.parents.insert(module.file.clone(), parent.to_owned());
            }
            for path in &module.mentions {
                for target in resolve(modules, id, path, &mut Vec::new()) {
                    // A path to a module is only the start of a longer path.
                    if let Target::Item(declaring, name) = target {
                        graph.add(&module.file, &modules.0[declaring].file, name);
                    }
                }
            }
        }
        graph
    }

    fn add(&mut self, from: &Path, to: &Path, name: &str) {
        if from != to {
            let arrows = self.arrows.entry(from.to_owned()).or_default();
            arrows.entry(to.to_owned()).or_default().insert(name.to_owned());
        }
    }

    /// Whether `ancestor` is an ancestor module of `file`.
    pub fn is_ancestor(&self, ancestor: &Path, file: &Path) -> bool {
        self.parents.get(file).is_some_and(|parent| parent == ancestor || self.is_ancestor(ancestor, parent))
    }
}

/// The names that are being resolved, as imports can be circular.
type Resolving<'a> = Vec<(ModuleId, &'a str)>;

fn resolve<'a>(
    modules: &'a Modules,
    from: ModuleId,
    path: &'a [String],
    resolving: &mut Resolving<'a>,
) -> Vec<Target<'a>> {
    let Some((first, rest)) = path.split_first() else { return Vec::new() };
    let mut targets = match first.as_str() {
        "crate" => vec![Target::Module(0)],
        "self" => vec![Target::Module(from)],
        "super" => parent(modules, from),
        name => look_up(modules, from, name, resolving),
    };
    for name in rest {
        targets = targets.into_iter().flat_map(|target| step(modules, target, name, resolving)).collect();
    }
    targets
}

fn step<'a>(
    modules: &'a Modules,
    target: Target<'a>,
    name: &'a str,
    resolving: &mut Resolving<'a>,
) -> Vec<Target<'a>> {
    match target {
        Target::Module(module) if name == "super" => parent(modules, module),
        Target::Module(module) => {
            let found = look_up(modules, module, name, resolving);
            // A name that is not in the source is declared by a macro.
            if found.is_empty() { vec![Target::Item(module, name)] } else { found }
        }
        // A variant, method or constant of a type.
        item @ Target::Item(..) => vec![item],
    }
}

fn parent<'a>(modules: &Modules, module: ModuleId) -> Vec<Target<'a>> {
    modules.0[module].parent.map(Target::Module).into_iter().collect()
}

fn look_up<'a>(
    modules: &'a Modules,
    module: ModuleId,
    name: &'a str,
    resolving: &mut Resolving<'a>,
) -> Vec<Target<'a>> {
    if resolving.contains(&(module, name)) {
        return Vec::new();
    }
    resolving.push((module, name));
    let mut targets = Vec::new();
    for meaning in modules.0[module].names.get(name).into_iter().flatten() {
        match meaning {
            Name::Module(child) => targets.push(Target::Module(*child)),
            Name::Item => targets.push(Target::Item(module, name)),
            Name::Import(path) => targets.extend(resolve(modules, module, path, resolving)),
        }
    }
    if targets.is_empty() {
        for glob in &modules.0[module].globs {
            for target in resolve(modules, module, glob, resolving) {
                if let Target::Module(target) = target {
                    targets.extend(look_up(modules, target, name, resolving));
                }
            }
        }
    }
    resolving.pop();
    targets
}
