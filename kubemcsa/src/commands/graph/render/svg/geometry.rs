//! Sizes in pixels, and the layout.

/// Around the image.
pub const MARGIN: f64 = 24.0;
/// Height of the titles of columns.
pub const HEAD: f64 = 34.0;
/// Height of the legend.
pub const FOOT: f64 = 46.0;
/// Between the frame of a cluster and its boxes.
pub const PADDING: f64 = 16.0;
/// Height of the title of a cluster.
pub const TITLE: f64 = 38.0;
/// Height of the title of a namespace.
pub const SUBTITLE: f64 = 24.0;
/// Between boxes.
pub const GAP: f64 = 10.0;
/// Between namespaces.
pub const NAMESPACE_GAP: f64 = 12.0;
/// Between clusters.
pub const CLUSTER_GAP: f64 = 26.0;
/// Between the columns of holders and imports.
pub const HOLDER_EDGES: f64 = 56.0;
/// Between targets and sources.
pub const IDENTITY_EDGES: f64 = 132.0;

pub const HOLDER_WIDTH: f64 = 230.0;
pub const IMPORT_WIDTH: f64 = 230.0;
pub const IDENTITY_WIDTH: f64 = 380.0;
/// Height of the boxes of holders and imports.
pub const SMALL_HEIGHT: f64 = 46.0;

/// Width of the text of an identity.
pub const IDENTITY_TEXT: f64 = IDENTITY_WIDTH - 28.0;
/// Size of small text.
pub const SMALL: f64 = 11.0;
/// Height of the name of an identity.
pub const NAME: f64 = 30.0;
/// Height of the other lines of an identity.
pub const LINE: f64 = 16.0;

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rect {
    /// Left edge.
    pub x: f64,
    /// Top edge.
    pub y: f64,
    pub width: f64,
    pub height: f64,
}

impl Rect {
    pub fn right(&self) -> f64 {
        self.x + self.width
    }

    pub fn bottom(&self) -> f64 {
        self.y + self.height
    }

    /// Vertical center.
    pub fn middle(&self) -> f64 {
        self.y + self.height / 2.0
    }
}

/// A title, and the space for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Label {
    pub text: String,
    pub room: Rect,
}

/// Where everything is drawn. Rectangles have the indexes of their nodes in the graph.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Layout {
    pub width: f64,
    pub height: f64,
    /// Titles of columns.
    pub columns: Vec<Label>,
    /// Titles of namespaces.
    pub namespaces: Vec<Label>,
    pub targets: Vec<Rect>,
    pub sources: Vec<Rect>,
    pub holders: Vec<Rect>,
    pub imports: Vec<Rect>,
    pub identities: Vec<Rect>,
    /// Top of the legend.
    pub legend: f64,
}
