//! A drawing as SVG: light and dark by the reader's preference, every full text in a tooltip.

use std::fmt::Write;

use super::layout::{Block, Placed, Wire, layout};
use super::measure::{HEAD, LINE, PADDING, property_lines};
use super::{Inside, Role};

/// Around everything.
const MARGIN: f64 = 24.0;
/// Room for the title.
const TOP: f64 = 46.0;
/// From the wire to the nearest line of its format.
const OFF: f64 = 6.0;

const STYLE: &str = "\
:root{--page:#fff;--text:#1f2328;--dim:#59636e;--box:#f6f8fa;--bin:#fff;--edge:#c3cad2;\
--wire:#818b98;--source:#1a7f37;--encoder:#0969da;--decoder:#8250df;--output:#bc4c00;--sink:#59636e}\
@media(prefers-color-scheme:dark){:root{--page:#14171a;--text:#e6e9ec;--dim:#9aa4ae;--box:#1f2429;\
--bin:#181c20;--edge:#3d454e;--wire:#76818c;--source:#3fb950;--encoder:#58a6ff;--decoder:#bc8cff;\
--output:#f0883e;--sink:#9aa4ae}}\
text{font-family:'DejaVu Sans Mono','Liberation Mono',Menlo,Consolas,monospace;font-size:11px;\
fill:var(--text)}\
.page{fill:var(--page)}.title{font-size:16px;font-weight:600}.factory{font-size:14px;font-weight:600}\
.dim{fill:var(--dim)}.box{fill:var(--box);stroke:var(--edge)}\
.bin{fill:var(--bin);stroke:var(--edge);stroke-dasharray:5 4}.rule{stroke:var(--edge)}\
.wire{fill:none;stroke:var(--wire);stroke-width:1.5}.arrow,.joint{fill:var(--wire)}\
.caps{text-anchor:middle}.possible{fill:var(--dim);font-style:italic}\
.source{fill:var(--source)}.encoder{fill:var(--encoder)}.decoder{fill:var(--decoder)}\
.output{fill:var(--output)}.sink{fill:var(--sink)}.other{fill:var(--edge)}";

/// The whole SVG document.
pub fn render(title: &str, pipeline: &Inside) -> String {
    let placed = layout(pipeline);
    let title_width = super::measure::width(title, 16.0);
    let width = (placed.width.max(title_width) + 2.0 * MARGIN).ceil();
    let height = (placed.height + TOP + 2.0 * MARGIN).ceil();
    let mut svg = String::new();
    let _ = writeln!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" role=\"img\">\n<title>{title}</title>\n\
         <style>{STYLE}</style>\n\
         <rect class=\"page\" width=\"{width}\" height=\"{height}\"/>\n\
         <text class=\"title\" x=\"{MARGIN}\" y=\"{y}\">{title}</text>",
        title = escaped(title),
        y = MARGIN + 16.0,
    );
    draw(&mut svg, &placed, MARGIN, MARGIN + TOP);
    svg.push_str("</svg>\n");
    svg
}

/// What is at this place.
fn draw(svg: &mut String, placed: &Placed<'_>, x: f64, y: f64) {
    let _ = writeln!(
        svg,
        "<g transform=\"translate({} {})\">",
        short(x),
        short(y)
    );
    for block in &placed.blocks {
        draw_block(svg, block);
    }
    for wire in &placed.wires {
        draw_wire(svg, wire);
    }
    svg.push_str("</g>\n");
}

fn draw_block(svg: &mut String, block: &Block<'_>) {
    let node = block.node;
    let (width, height) = (short(block.width), short(block.height));
    let _ = writeln!(
        svg,
        "<g transform=\"translate({} {})\">",
        short(block.x),
        short(block.y)
    );
    let mut whole = format!("{} {}", node.factory, node.name);
    for (name, value) in &node.properties {
        let _ = write!(whole, "\n{name}={value}");
    }
    let class = match block.inside {
        Some(_) => "bin",
        None => "box",
    };
    let _ = writeln!(
        svg,
        "<title>{}</title><rect class=\"{class}\" width=\"{width}\" height=\"{height}\" rx=\"6\"/>\
         <rect class=\"{}\" x=\"5\" y=\"9\" width=\"3\" height=\"24\" rx=\"1.5\"/>",
        escaped(&whole),
        class_of(node.role),
    );
    let name = match node.role {
        Role::Output => format!("{} → viewers", node.name),
        _ => node.name.clone(),
    };
    let _ = writeln!(
        svg,
        "<text class=\"factory\" x=\"{PADDING}\" y=\"19\">{}</text>\
         <text class=\"dim\" x=\"{PADDING}\" y=\"34\">{}</text>",
        escaped(&node.factory),
        escaped(&name),
    );
    let lines = property_lines(node);
    if !lines.is_empty() {
        let _ = writeln!(svg, "<path class=\"rule\" d=\"M0 {HEAD}H{width}\"/>");
    }
    for (number, line) in lines.iter().enumerate() {
        let y = HEAD + 1.0 + LINE * (number as f64 + 1.0);
        let _ = writeln!(
            svg,
            "<text x=\"{PADDING}\" y=\"{}\">{}</text>",
            short(y),
            escaped(line)
        );
    }
    if let Some((x, y, inside)) = &block.inside {
        draw(svg, inside, *x, *y);
    }
    svg.push_str("</g>\n");
}

fn draw_wire(svg: &mut String, wire: &Wire<'_>) {
    let mut points = wire.points.iter().copied();
    let (Some(mut last), Some(end)) = (points.next(), wire.points.last()) else {
        return;
    };
    let mut path = format!("M{} {}", short(last.0), short(last.1));
    for point in points {
        let (x, y) = (short(point.0), short(point.1));
        if (point.1 - last.1).abs() < 0.5 {
            let _ = write!(path, "L{x} {y}");
        } else {
            let middle = short((last.0 + point.0) / 2.0);
            let _ = write!(path, "C{middle} {} {middle} {y} {x} {y}", short(last.1));
        }
        last = point;
    }
    let (x, y) = *end;
    let mut whole = format!(
        "{} → {}",
        end_name(&wire.link.from),
        end_name(&wire.link.to)
    );
    if let Some(caps) = &wire.link.caps {
        let _ = write!(whole, "\n{}", caps.whole);
    }
    let _ = writeln!(
        svg,
        "<g><title>{}</title><path class=\"wire\" d=\"{path}\"/>\
         <path class=\"arrow\" d=\"M{} {}l-7 -4v8z\"/>",
        escaped(&whole),
        short(x),
        short(y),
    );
    if let (Some((x, y)), Some(caps)) = (wire.label, &wire.link.caps) {
        let class = match caps.negotiated {
            true => "caps",
            false => "caps possible",
        };
        for (number, line) in caps.lines.iter().enumerate() {
            // The first line stands on the wire, the others hang from it.
            let y = match number {
                0 => y - OFF,
                below => y + OFF / 2.0 + below as f64 * (LINE - 2.0),
            };
            let _ = writeln!(
                svg,
                "<text class=\"{class}\" x=\"{}\" y=\"{}\">{}</text>",
                short(x),
                short(y),
                escaped(line)
            );
        }
    }
    svg.push_str("</g>\n");
}

fn end_name(end: &super::End) -> &str {
    match end {
        super::End::Node(_, pad) | super::End::Own(pad) => pad,
    }
}

fn class_of(role: Role) -> &'static str {
    match role {
        Role::Source => "source",
        Role::Encoder => "encoder",
        Role::Decoder => "decoder",
        Role::Output => "output",
        Role::Sink => "sink",
        Role::Other => "other",
    }
}

/// A length with no more digits than can be seen.
fn short(length: f64) -> f64 {
    (length * 10.0).round() / 10.0
}

/// Text as XML takes it: markup means nothing, and what XML cannot carry is a question mark.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' => escaped.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push('?'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drawing::{Caps, End, Link, Node};

    #[test]
    fn text_of_the_description_stays_text() {
        let source = Node {
            factory: "videotestsrc".to_owned(),
            name: "</text><script>alert(\"1\")</script>".to_owned(),
            properties: vec![("text".to_owned(), "a & b\u{7}".to_owned())],
            outputs: vec!["src".to_owned()],
            ..Node::default()
        };
        let sink = Node {
            factory: "fakesink".to_owned(),
            inputs: vec!["sink".to_owned()],
            ..Node::default()
        };
        let pipeline = Inside {
            nodes: vec![source, sink],
            links: vec![Link {
                from: End::Node(0, "src".to_owned()),
                to: End::Node(1, "sink".to_owned()),
                caps: Some(Caps {
                    lines: vec!["<caps>".to_owned()],
                    whole: "all <caps>".to_owned(),
                    negotiated: true,
                }),
            }],
        };
        let svg = render("a<b", &pipeline);
        assert!(!svg.contains("<script") && !svg.contains("<caps>"));
        assert!(svg.contains("text=a &amp; b?") && svg.contains("all &lt;caps&gt;"));
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        assert_eq!(svg.matches("<g").count(), svg.matches("</g>").count());
    }
}
