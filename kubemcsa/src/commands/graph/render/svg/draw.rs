//! Writes the SVG. *Absent:* scripts, and references to other files.

use super::geometry::{IDENTITY_TEXT, LINE, Label, Layout, MARGIN, NAME, PADDING, Rect, SMALL, TITLE};
use super::identity_lines::shown_lines;
use super::style::{Colours, MARKED, PLAIN, STYLE, colours, hue};
use super::text::{bold, escape, fit, width};
use crate::commands::graph::model::{Graph, Identity, Import};
use crate::commands::graph::render::{
    MARK, NOT_PERMITTED, has_marks, identity_lines, is_marked, no_holders, program,
};

pub(crate) fn draw(graph: &Graph, layout: &Layout) -> String {
    let mut svg = Svg::default();
    for (index, target) in graph.targets.iter().enumerate() {
        svg.cluster(&layout.targets[index], ("TARGET", None), &target.name, false);
    }
    for (index, source) in graph.sources.iter().enumerate() {
        let is_unread = source.unread.is_some();
        svg.cluster(&layout.sources[index], ("SOURCE", Some(hue(index))), &source.name, is_unread);
    }
    for label in &layout.columns {
        svg.label(label, "column", bold(12.0));
    }
    for label in &layout.namespaces {
        svg.label(label, "faint", SMALL);
    }
    for (import, rect) in graph.imports.iter().zip(&layout.imports) {
        let identity = &graph.identities[import.identity];
        let is_marked = !identity.admin.is_empty();
        let (holder_colours, identity_colours) =
            if is_marked { (MARKED, MARKED) } else { (PLAIN, colours(hue(identity.source))) };
        for holder in &import.holders {
            svg.holder_edge(&layout.holders[*holder], rect, holder_colours);
        }
        let clusters = (&layout.targets[import.target], &layout.sources[identity.source]);
        svg.identity_edge(rect, clusters, &layout.identities[import.identity], identity_colours);
    }
    for (holder, rect) in graph.holders.iter().zip(&layout.holders) {
        let pods = if holder.pods == 1 { "1 pod".to_owned() } else { format!("{} pods", holder.pods) };
        svg.small(rect, &holder.name, &pods, ("box", "holder-bar"));
    }
    for (import, rect) in graph.imports.iter().zip(&layout.imports) {
        svg.import(graph, import, rect);
    }
    for (identity, rect) in graph.identities.iter().zip(&layout.identities) {
        svg.identity(graph, identity, rect);
    }
    svg.legend(graph, layout);
    let (width, height) = (layout.width, layout.height);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\">\n<title>Imports of service accounts</title>\n\
         <style>{STYLE}</style>\n<rect class=\"page\" width=\"{width:.0}\" height=\"{height:.0}\"/>\n{}</svg>\n",
        svg.body
    )
}

/// Later elements cover earlier ones.
#[derive(Default)]
struct Svg {
    body: String,
}

impl Svg {
    fn push(&mut self, element: &str) {
        self.body.push_str(element);
        self.body.push('\n');
    }

    fn rect(&mut self, rect: &Rect, radius: f64, class: &str) {
        let Rect { x, y, width, height } = rect;
        self.push(&format!(
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" \
             rx=\"{radius}\"/>"
        ));
    }

    /// A line of text, shortened to the available width. Its title, which browsers show on hover, has the full text.
    fn text(&mut self, (x, y): (f64, f64), text: &str, (class, size): (&str, f64), room: f64) {
        let fitted = fit(text, size, room);
        let title = if fitted.is_cut { format!("<title>{}</title>", escape(text)) } else { String::new() };
        let shown = escape(&fitted.shown);
        self.push(&format!("<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\">{title}{shown}</text>"));
    }

    fn label(&mut self, label: &Label, class: &str, size: f64) {
        let Rect { x, y, width, height } = label.room;
        self.text((x, y + height - 5.0), &label.text, (class, size), width);
    }

    fn cluster(&mut self, rect: &Rect, (kind, hue): (&str, Option<usize>), name: &str, is_unread: bool) {
        self.rect(rect, 12.0, if is_unread { "cluster unread" } else { "cluster" });
        let baseline = rect.y + TITLE - 14.0;
        self.push(&format!(
            "<text class=\"kind\" x=\"{:.1}\" y=\"{baseline:.1}\">{kind}</text>",
            rect.x + PADDING
        ));
        // The style's letter-spacing adds a pixel per letter.
        let indent = PADDING + width(kind, bold(10.0)) + 10.0;
        let room = rect.width - indent - PADDING - 24.0;
        self.text((rect.x + indent, baseline), name, ("cluster-name", bold(15.0)), room);
        if let Some(hue) = hue {
            let dot = (rect.right() - PADDING - 6.0, baseline - 5.0);
            self.push(&format!(
                "<circle class=\"tip-{hue}\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"5\"/>",
                dot.0, dot.1
            ));
        }
    }

    fn bar(&mut self, rect: &Rect, class: &str) {
        let bar = Rect { x: rect.x + 5.0, y: rect.y + 8.0, width: 3.5, height: rect.height - 16.0 };
        self.rect(&bar, 1.7, class);
    }

    /// A box with a name and one more line.
    fn small(&mut self, rect: &Rect, name: &str, below: &str, (class, bar): (&str, &str)) {
        self.rect(rect, 8.0, class);
        self.bar(rect, bar);
        let room = rect.width - 28.0;
        self.text((rect.x + 16.0, rect.y + 20.0), name, ("name", bold(13.0)), room);
        self.text((rect.x + 16.0, rect.y + 36.0), below, ("faint", SMALL), room);
    }

    fn import(&mut self, graph: &Graph, import: &Import, rect: &Rect) {
        let program = program(import);
        let kind = match program {
            Some(program) if import.is_link => format!("link, held by {program}"),
            Some(program) => format!("import, held by {program}"),
            None => "import".to_owned(),
        };
        let below = match (&import.not_ready, import.holders.is_empty() && program.is_none()) {
            _ if import.not_permitted => NOT_PERMITTED.to_owned(),
            (Some(reason), _) => format!("not ready: {reason}"),
            (None, true) => no_holders(graph, import).to_owned(),
            (None, false) => kind,
        };
        let is_marked = is_marked(graph, import);
        let class = if is_marked { "box marked" } else { "box" };
        let bar = match (is_marked, import.is_link) {
            (true, _) => "marked-bar",
            (false, true) => "link-bar",
            (false, false) => "import-bar",
        };
        self.small(rect, &import.name, &below, (class, bar));
    }

    fn identity(&mut self, graph: &Graph, identity: &Identity, rect: &Rect) {
        let is_marked = !identity.admin.is_empty();
        let all = identity_lines(graph, identity);
        let all: Vec<_> = all.marks.into_iter().chain(all.rights).collect();
        self.push(&format!("<g><title>{}</title>", escape(&all.join("\n"))));
        self.rect(rect, 8.0, if is_marked { "box marked" } else { "box" });
        self.bar(rect, if is_marked { "marked-bar" } else { "identity-bar" });
        let (x, room) = (rect.x + 16.0, IDENTITY_TEXT);
        let name = format!("{}/{}", identity.namespace, identity.name);
        self.text((x, rect.y + 20.0), &name, ("name", bold(13.0)), room);
        let (marks, rights) = shown_lines(graph, identity);
        let lines = marks
            .iter()
            .map(|line| (line, ("warning", bold(SMALL))))
            .chain(rights.iter().map(|line| (line, ("faint", SMALL))));
        let mut y = rect.y + NAME + 8.0;
        for (line, style) in lines {
            self.text((x, y), line, style, room);
            y += LINE;
        }
        self.push("</g>");
    }

    fn path(&mut self, path: &str, (x, y): (f64, f64), (line, tip): Colours) {
        self.push(&format!("<path class=\"{line}\" d=\"{path}\"/>"));
        let (back, above, below) = (x - 7.0, y - 4.0, y + 4.0);
        self.push(&format!(
            "<path class=\"{tip}\" d=\"M{back:.1} {above:.1}L{x:.1} {y:.1}L{back:.1} {below:.1}Z\"/>"
        ));
    }

    /// From a holder to its import, in the gap between their columns.
    fn holder_edge(&mut self, from: &Rect, to: &Rect, colours: Colours) {
        let (start, end) = (from.right(), to.x);
        let path = curve((start, from.middle()), (start, end - 6.0), (end - 6.0, to.middle()));
        self.path(&path, (end, to.middle()), colours);
    }

    /// From an import to its identity, straight within the frames of clusters, so that it crosses no title.
    fn identity_edge(&mut self, from: &Rect, (target, source): (&Rect, &Rect), to: &Rect, colours: Colours) {
        let end = (to.x - 6.0, to.middle());
        let path = curve((from.right(), from.middle()), (target.right(), source.x), end);
        self.path(&path, (to.x, to.middle()), colours);
    }

    fn legend(&mut self, graph: &Graph, layout: &Layout) {
        let has_links = graph.imports.iter().any(|import| import.is_link);
        let entries = [
            (!graph.holders.is_empty(), "box", "holder-bar", "pods"),
            (graph.imports.iter().any(|import| !import.is_link), "box", "import-bar", "import"),
            (has_links, "box", "link-bar", "link"),
            (!graph.identities.is_empty(), "box", "identity-bar", "service account"),
            (has_marks(graph), "box marked", "marked-bar", MARK),
            (graph.sources.iter().any(|it| it.unread.is_some()), "cluster unread", "", "permissions unknown"),
        ];
        let mut x = MARGIN + PADDING;
        for (_, class, bar, text) in entries.into_iter().filter(|entry| entry.0) {
            let swatch = Rect { x, y: layout.legend, width: 26.0, height: 18.0 };
            self.rect(&swatch, 4.0, class);
            if !bar.is_empty() {
                let bar_rect = Rect { x: x + 4.0, y: layout.legend + 4.0, width: 3.0, height: 10.0 };
                self.rect(&bar_rect, 1.5, bar);
            }
            let text_width = width(text, SMALL);
            self.text((x + 34.0, layout.legend + 13.0), text, ("faint", SMALL), text_width);
            x += 34.0 + text_width + 20.0;
        }
    }
}

/// A straight line, an S-curve through the gap, and a straight line.
fn curve(from: (f64, f64), gap: (f64, f64), to: (f64, f64)) -> String {
    let middle = f64::midpoint(gap.0, gap.1);
    format!(
        "M{:.1} {:.1}H{:.1}C{middle:.1} {:.1} {middle:.1} {:.1} {:.1} {:.1}H{:.1}",
        from.0, from.1, gap.0, from.1, to.1, gap.1, to.1, to.0
    )
}
