//! Sizes in pixels, and the layout.

/// Around the image.
pub(crate) const MARGIN: f64 = 24.0;
/// Height of the titles of columns.
pub(crate) const HEAD: f64 = 34.0;
/// Height of the legend.
pub(crate) const FOOT: f64 = 46.0;
/// Between the frame of a cluster and its boxes.
pub(crate) const PADDING: f64 = 16.0;
/// Height of the title of a cluster.
pub(crate) const TITLE: f64 = 38.0;
/// Height of the title of a namespace.
pub(crate) const SUBTITLE: f64 = 24.0;
/// Between boxes.
pub(crate) const GAP: f64 = 10.0;
/// Between namespaces.
pub(crate) const NAMESPACE_GAP: f64 = 12.0;
/// Between clusters.
pub(crate) const CLUSTER_GAP: f64 = 26.0;
/// Between the columns of holders and imports.
pub(crate) const HOLDER_EDGES: f64 = 56.0;
/// Between targets and sources.
pub(crate) const IDENTITY_EDGES: f64 = 132.0;

pub(crate) const HOLDER_WIDTH: f64 = 230.0;
pub(crate) const IMPORT_WIDTH: f64 = 230.0;
pub(crate) const IDENTITY_WIDTH: f64 = 380.0;
/// Height of the boxes of holders and imports.
pub(crate) const SMALL_HEIGHT: f64 = 46.0;

/// Width of the text of an identity.
pub(crate) const IDENTITY_TEXT: f64 = IDENTITY_WIDTH - 28.0;
/// Size of small text.
pub(crate) const SMALL: f64 = 11.0;
/// Height of the name of an identity.
pub(crate) const NAME: f64 = 30.0;
/// Height of the other lines of an identity.
pub(crate) const LINE: f64 = 16.0;

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Rect {
    /// Left edge.
    pub(crate) x: f64,
    /// Top edge.
    pub(crate) y: f64,
    pub(crate) width: f64,
    pub(crate) height: f64,
}

impl Rect {
    pub(crate) fn right(&self) -> f64 {
        self.x + self.width
    }

    pub(crate) fn bottom(&self) -> f64 {
        self.y + self.height
    }

    /// Vertical center.
    pub(crate) fn middle(&self) -> f64 {
        self.y + self.height / 2.0
    }
}

/// A title, and the space for it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Label {
    pub(crate) text: String,
    pub(crate) room: Rect,
}

/// Where everything is drawn. Rectangles have the indexes of their nodes in the graph.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Layout {
    pub(crate) width: f64,
    pub(crate) height: f64,
    /// Titles of columns.
    pub(crate) columns: Vec<Label>,
    /// Titles of namespaces.
    pub(crate) namespaces: Vec<Label>,
    pub(crate) targets: Vec<Rect>,
    pub(crate) sources: Vec<Rect>,
    pub(crate) holders: Vec<Rect>,
    pub(crate) imports: Vec<Rect>,
    pub(crate) identities: Vec<Rect>,
    /// Top of the legend.
    pub(crate) legend: f64,
}
