//! Reads the modules of one target.

use crate::module::{Module, ModuleId, Name};
use crate::syntax::{self, Child};
use crate::token::{Token, tokens};
use anyhow::{Context, Result, anyhow};
use std::path::{Path, PathBuf};

/// The modules of a target, its root first.
#[derive(Default)]
pub struct Modules(pub Vec<Module>);

/// Reads the text of a file. `None`: it does not exist.
pub type Read<'a> = &'a dyn Fn(&Path) -> Option<String>;

/// A module's file, and the folder with the files of its children.
#[derive(Clone)]
struct Place {
    file: PathBuf,
    folder: PathBuf,
}

impl Modules {
    /// Reads a target from its root file, and follows `mod` declarations.
    pub fn read(root: &Path, read: Read) -> Result<Self> {
        let mut modules = Self::default();
        modules.read_file(Place::with_siblings(root.to_owned()), None, read)?;
        Ok(modules)
    }

    fn read_file(&mut self, place: Place, parent: Option<ModuleId>, read: Read) -> Result<ModuleId> {
        let file = place.file.display();
        let text = read(&place.file).with_context(|| format!("{file} does not exist"))?;
        let stream = text.parse().map_err(|error| anyhow!("{file}: {error}"))?;
        self.add(&tokens(stream), place, parent, read)
    }

    fn add(
        &mut self,
        tokens: &[Token],
        place: Place,
        parent: Option<ModuleId>,
        read: Read,
    ) -> Result<ModuleId> {
        let id = self.0.len();
        let (module, children) = syntax::collect(tokens);
        self.0.push(Module { file: place.file.clone(), parent, ..module });
        for Child { name, path, content } in children {
            let folder = place.folder.join(name);
            let child = match (content, path) {
                (Some(content), _) => self.add(content, Place { folder, ..place.clone() }, Some(id), read)?,
                (None, Some(path)) => {
                    let file = normal(&place.file.with_file_name(path));
                    self.read_file(Place::with_siblings(file), Some(id), read)?
                }
                (None, None) => {
                    let beside = folder.with_extension("rs");
                    let file = if read(&beside).is_some() { beside } else { folder.join("mod.rs") };
                    self.read_file(Place { file, folder }, Some(id), read)?
                }
            };
            self.0[id].names.entry(name.to_owned()).or_default().push(Name::Module(child));
        }
        Ok(id)
    }

    /// The file of the nearest ancestor module that is in another file.
    pub fn parent_file(&self, file: &Path) -> Option<&Path> {
        let mut module = self.0.iter().find(|module| module.file == file)?;
        while let Some(parent) = module.parent {
            module = &self.0[parent];
            if module.file != file {
                return Some(&module.file);
            }
        }
        None
    }
}

impl Place {
    /// A file with its children in the same folder: the root of a target, or the file that `#[path]` names.
    fn with_siblings(file: PathBuf) -> Self {
        Self { folder: file.parent().unwrap_or(Path::new("")).to_owned(), file }
    }
}

/// `a/b/../c` as `a/c`.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        if part.as_os_str() == ".." {
            normal.pop();
        } else {
            normal.push(part);
        }
    }
    normal
}
