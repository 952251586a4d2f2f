//! Colours and fonts.

/// For light and dark pages. *Absent:* CSS variables, which some viewers don't support.
pub(crate) const STYLE: &str = "
text { font-family: system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif; }
.page { fill: #ffffff; }
.cluster { fill: #f6f8fa; stroke: #d0d7de; }
.unread { stroke-dasharray: 5 4; }
.box { fill: #ffffff; stroke: #c8d0d9; }
.marked { fill: #ffebe9; stroke: #cf222e; stroke-width: 1.5; }
.holder-bar { fill: #818b98; } .import-bar { fill: #0969da; } .link-bar { fill: #8250df; }
.identity-bar { fill: #1a7f37; } .marked-bar { fill: #cf222e; }
.name { fill: #1f2328; font-size: 13px; font-weight: 600; }
.cluster-name { fill: #1f2328; font-size: 15px; font-weight: 700; }
.kind { fill: #59636e; font-size: 10px; font-weight: 600; letter-spacing: 1px; }
.faint { fill: #59636e; font-size: 11px; }
.column { fill: #59636e; font-size: 12px; font-weight: 600; }
.warning { fill: #a40e26; font-size: 11px; font-weight: 600; }
.line { fill: none; stroke-width: 1.5; }
.marked-line { fill: none; stroke: #cf222e; stroke-width: 1.8; }
.marked-tip { fill: #cf222e; }
.hue-0 { stroke: #8c959f; } .tip-0 { fill: #8c959f; }
.hue-1 { stroke: #3b82c4; } .tip-1 { fill: #3b82c4; }
.hue-2 { stroke: #2f9e6e; } .tip-2 { fill: #2f9e6e; }
.hue-3 { stroke: #b07d1c; } .tip-3 { fill: #b07d1c; }
.hue-4 { stroke: #8b62d0; } .tip-4 { fill: #8b62d0; }
.hue-5 { stroke: #1a93a5; } .tip-5 { fill: #1a93a5; }
@media (prefers-color-scheme: dark) {
  .page { fill: #0d1117; }
  .cluster { fill: #151b23; stroke: #3d444d; }
  .box { fill: #212830; stroke: #4a525c; }
  .marked { fill: #3d1418; stroke: #f85149; }
  .holder-bar { fill: #9198a1; } .import-bar { fill: #4493f8; } .link-bar { fill: #ab7df8; }
  .identity-bar { fill: #3fb950; } .marked-bar { fill: #f85149; }
  .name, .cluster-name { fill: #f0f6fc; }
  .kind, .faint, .column { fill: #a3abb5; }
  .warning { fill: #ff9492; }
  .marked-line { stroke: #f85149; }
  .marked-tip { fill: #f85149; }
}
";

/// Edges to a source have its colour. The sixth source has the colour of the first, and so on.
const HUES: usize = 5;

/// The classes of an edge and of its arrowhead.
pub(crate) type Colours = (&'static str, &'static str);

/// Edges to marked identities.
pub(crate) const MARKED: Colours = ("marked-line", "marked-tip");
/// Other edges of holders.
pub(crate) const PLAIN: Colours = ("line hue-0", "tip-0");

/// The number of a source's colour.
pub(crate) fn hue(source: usize) -> usize {
    source % HUES + 1
}

/// The classes of a colour, by its number.
pub(crate) fn colours(hue: usize) -> Colours {
    match hue {
        1 => ("line hue-1", "tip-1"),
        2 => ("line hue-2", "tip-2"),
        3 => ("line hue-3", "tip-3"),
        4 => ("line hue-4", "tip-4"),
        _ => ("line hue-5", "tip-5"),
    }
}
