//! Sizes, and where everything stands.

/// Around everything.
pub const MARGIN: f64 = 24.0;
/// The titles of the columns.
pub const HEAD: f64 = 34.0;
/// The legend.
pub const FOOT: f64 = 46.0;
/// Around what is in a cluster.
pub const PADDING: f64 = 16.0;
/// The title of a cluster.
pub const TITLE: f64 = 38.0;
/// The title of a namespace.
pub const SUBTITLE: f64 = 24.0;
/// Between boxes.
pub const GAP: f64 = 10.0;
/// Between namespaces.
pub const NAMESPACE_GAP: f64 = 12.0;
/// Between clusters.
pub const CLUSTER_GAP: f64 = 26.0;
/// Between the columns of a target.
pub const STREET: f64 = 56.0;
/// Between targets and sources.
pub const AVENUE: f64 = 132.0;

/// Of a holder's box.
pub const HOLDER_WIDTH: f64 = 230.0;
/// Of an import's box.
pub const IMPORT_WIDTH: f64 = 230.0;
/// Of an identity's box.
pub const IDENTITY_WIDTH: f64 = 380.0;
/// Of either of the former.
pub const SMALL_HEIGHT: f64 = 46.0;

/// The room of an identity's text.
pub const IDENTITY_TEXT: f64 = IDENTITY_WIDTH - 28.0;
/// The size of small letters.
pub const SMALL: f64 = 11.0;
/// What is above the lines of an identity.
pub const NAME: f64 = 30.0;
/// One line of an identity.
pub const LINE: f64 = 16.0;

/// A rectangle.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rect {
    /// Left.
    pub x: f64,
    /// Top.
    pub y: f64,
    /// Width.
    pub width: f64,
    /// Height.
    pub height: f64,
}

impl Rect {
    /// Right.
    pub fn right(&self) -> f64 {
        self.x + self.width
    }

    /// Bottom.
    pub fn bottom(&self) -> f64 {
        self.y + self.height
    }

    /// Half way down.
    pub fn middle(&self) -> f64 {
        self.y + self.height / 2.0
    }
}

/// A title, with the room that it has.
#[derive(Clone, Debug, PartialEq)]
pub struct Label {
    /// What it says.
    pub text: String,
    /// Its room.
    pub room: Rect,
}

/// Where everything stands; boxes by their places in the graph.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Layout {
    /// Of the picture.
    pub width: f64,
    /// Of the picture.
    pub height: f64,
    /// Titles of columns.
    pub columns: Vec<Label>,
    /// Titles of namespaces.
    pub namespaces: Vec<Label>,
    /// Targets.
    pub targets: Vec<Rect>,
    /// Sources.
    pub sources: Vec<Rect>,
    /// Holders.
    pub holders: Vec<Rect>,
    /// Imports.
    pub imports: Vec<Rect>,
    /// Identities.
    pub identities: Vec<Rect>,
    /// Top of the legend.
    pub legend: f64,
}
