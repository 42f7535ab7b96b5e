//! Where everything in a drawing stands: columns from left to right, headings in line, what is
//! inside of bins within their boxes, unconnected parts below one another.

use std::collections::HashMap;

use super::column::{Item, place};
use super::grid::{BESIDE, Grid, Side, side};
use super::layers::{Layers, layers};
use super::measure::{self, HEAD};
use super::vertices::{Vertices, Way};
use super::{End, Inside, Link, Node};

/// From one pad of a side to the next; the format on their links has to fit.
const PITCH: f64 = 58.0;
/// Room that a line takes where it passes a column.
const LANE: f64 = 26.0;
/// Room below a box.
const BELOW: f64 = 26.0;
/// Between the border of a bin and what is inside.
pub(super) const INSET: f64 = 16.0;
/// Sweeps over all columns; they settle after a few.
const SWEEPS: usize = 12;

/// A pipeline, or the inside of a bin, with its upper left corner at 0, 0.
#[derive(Debug, Default)]
pub(super) struct Placed<'a> {
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) blocks: Vec<Block<'a>>,
    pub(super) wires: Vec<Wire<'a>>,
    /// Heights of the bin's own pads.
    ports: HashMap<&'a str, f64>,
}

/// An element or a bin.
#[derive(Debug)]
pub(super) struct Block<'a> {
    pub(super) node: &'a Node,
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
    /// What is inside of a bin, and its upper left corner.
    pub(super) inside: Option<(f64, f64, Placed<'a>)>,
}

/// A link.
#[derive(Debug)]
pub(super) struct Wire<'a> {
    pub(super) link: &'a Link,
    /// Its way; it is level at each point.
    pub(super) points: Vec<(f64, f64)>,
    /// Where its format is written: the middle, on the wire.
    pub(super) label: Option<(f64, f64)>,
}

/// Lays out a pipeline or the inside of a bin.
pub(super) fn layout(inside: &Inside) -> Placed<'_> {
    let mut blocks: Vec<_> = inside.nodes.iter().map(block).collect();
    let vertices = Vertices::of(inside);
    let mut placed = Placed::default();
    for part in vertices.parts() {
        let top = match placed.height {
            0.0 => 0.0,
            height => height + BELOW,
        };
        arrange(&vertices, &part, top, &mut blocks, &mut placed);
    }
    // Ports stand at the right margin of all parts.
    for wire in &mut placed.wires {
        if let (End::Own(_), Some(end)) = (&wire.link.to, wire.points.last().copied()) {
            wire.points.push((placed.width + INSET, end.1));
        }
    }
    placed.blocks = blocks;
    placed
}

/// A box with its size, not yet at its place.
fn block(node: &Node) -> Block<'_> {
    let (width, height) = measure::box_of(node);
    let (inside, width, height) = match &node.inside {
        Some(inside) if !inside.nodes.is_empty() => {
            let placed = layout(inside);
            let width = width.max(placed.width + 2.0 * INSET);
            let below = height + placed.height + INSET;
            (Some((INSET, height, placed)), width, below)
        }
        _ => {
            let pads = node.inputs.len().max(node.outputs.len()).max(1);
            let needed = HEAD + (pads - 1) as f64 * PITCH;
            (None, width, height.max(needed))
        }
    };
    Block {
        node,
        x: 0.0,
        y: 0.0,
        width,
        height,
        inside,
    }
}

impl Block<'_> {
    /// Height of a pad below the box's upper edge.
    fn pad(&self, name: &str) -> f64 {
        if let Some((_, top, inside)) = &self.inside {
            if let Some(y) = inside.ports.get(name) {
                return top + y;
            }
        }
        let place = |pads: &[String]| pads.iter().position(|pad| pad == name);
        let place = place(&self.node.inputs).or_else(|| place(&self.node.outputs));
        HEAD / 2.0 + place.unwrap_or_default() as f64 * PITCH
    }
}

/// Places a part that hangs together below `top`.
fn arrange<'a>(
    vertices: &Vertices<'a>,
    part: &[usize],
    top: f64,
    blocks: &mut [Block<'a>],
    placed: &mut Placed<'a>,
) {
    let local: HashMap<usize, usize> = part.iter().enumerate().map(|(i, v)| (*v, i)).collect();
    let number = |end: &End| local.get(&vertices.number(end)).copied();
    let links: Vec<(&Link, usize, usize)> = vertices
        .inside
        .links
        .iter()
        .filter_map(|link| Some((link, number(&link.from)?, number(&link.to)?)))
        .collect();
    let lines: Vec<_> = links.iter().map(|(_, from, to)| (*from, *to)).collect();
    let ports = |wanted: Way| -> Vec<usize> {
        let all = part.iter().enumerate();
        all.filter(|(_, v)| vertices.port(**v).is_some_and(|(_, way)| way == wanted))
            .map(|(local, _)| local)
            .collect()
    };
    let layers = layers(part.len(), &lines, &ports(Way::In), &ports(Way::Out));
    let node = |vertex: usize| part.get(vertex).filter(|v| vertices.port(**v).is_none());
    let height = |vertex: usize| match (node(vertex), part.get(vertex)) {
        (Some(node), _) => blocks[*node].height + BELOW,
        (None, Some(_)) => PITCH,
        (None, None) => LANE,
    };
    let heights: Vec<f64> = (0..layers.count).map(height).collect();
    // Where each part of a line leaves one vertex and reaches the next.
    let joints: Vec<Vec<(usize, f64)>> = links
        .iter()
        .zip(&layers.ways)
        .map(|((link, ..), way)| {
            let last = way.len() - 1;
            let offset = |(place, vertex): (usize, &usize)| {
                let end = match place {
                    0 => Some(&link.from),
                    place if place == last => Some(&link.to),
                    _ => None,
                };
                let offset = match end {
                    Some(End::Node(number, pad)) => blocks[*number].pad(pad),
                    _ => heights[*vertex] / 2.0,
                };
                (*vertex, offset)
            };
            way.iter().enumerate().map(offset).collect()
        })
        .collect();
    let tops = heights_of(&layers, &heights, &joints);
    let highest = tops.iter().copied().fold(f64::INFINITY, f64::min);
    let y = |vertex: usize| tops[vertex] - highest + top;

    let mut column = vec![0; layers.count];
    for (number, vertices) in layers.columns.iter().enumerate() {
        for vertex in vertices {
            column[*vertex] = number;
        }
    }
    let segments = joints.iter().flat_map(|way| way.windows(2));
    let bent = segments
        .filter(|pair| (y(pair[0].0) + pair[0].1 - y(pair[1].0) - pair[1].1).abs() > 0.5)
        .map(|pair| column[pair[0].0])
        .collect();
    let width = |vertex: usize| node(vertex).map_or(0.0, |node| blocks[*node].width);
    let grid = Grid::of(&layers, &links, &bent, width);
    for vertex in 0..part.len() {
        match (node(vertex), vertices.port(part[vertex])) {
            (Some(node), _) => {
                let block = &mut blocks[*node];
                (block.x, block.y) = (grid.left[column[vertex]], y(vertex));
                placed.height = placed.height.max(block.y + block.height);
            }
            (None, Some((name, _))) => {
                placed.ports.insert(name, y(vertex) + PITCH / 2.0);
                placed.height = placed.height.max(y(vertex) + PITCH);
            }
            (None, None) => {}
        }
    }
    placed.width = placed.width.max(grid.right.last().copied().unwrap_or(0.0));
    for ((link, ..), way) in links.iter().zip(&joints) {
        let mut points = Vec::new();
        for (place, (vertex, offset)) in way.iter().enumerate() {
            let (column, y) = (column[*vertex], y(*vertex) + offset);
            placed.height = placed.height.max(y);
            let right = match node(*vertex) {
                Some(node) => blocks[*node].x + blocks[*node].width,
                None => grid.right[column],
            };
            if place > 0 {
                points.push((grid.before(column), y));
                points.push((grid.left[column], y));
            } else if let End::Own(_) = link.from {
                points.push((-INSET, y));
            }
            if place + 1 < way.len() {
                points.push((right, y));
                points.push((grid.after(column), y));
            }
        }
        let label = link.caps.as_ref().and_then(|caps| {
            let half = (measure::caps_width(caps) + BESIDE) / 2.0;
            let (first, last) = (way.first()?.0, way.last()?.0);
            Some(match side(link, &links)? {
                Side::From => (grid.right[column[first]] + half, points.first()?.1),
                Side::To => (grid.left[column[last]] - half, points.last()?.1),
            })
        });
        placed.wires.push(Wire {
            link,
            points,
            label,
        });
    }
}

/// Tops of all vertices: lines as level as can be.
fn heights_of(layers: &Layers, heights: &[f64], joints: &[Vec<(usize, f64)>]) -> Vec<f64> {
    let mut tops = vec![0.0; layers.count];
    for column in &layers.columns {
        let mut y = 0.0;
        for vertex in column {
            tops[*vertex] = y;
            y += heights[*vertex];
        }
    }
    // By vertex: the neighbour on either side, and how much lower than its top this one wants to
    // be.
    let mut near = vec![[Vec::new(), Vec::new()]; layers.count];
    for way in joints {
        for pair in way.windows(2) {
            let ((from, out), (to, into)) = (pair[0], pair[1]);
            near[to][0].push((from, out - into));
            near[from][1].push((to, into - out));
        }
    }
    for sweep in 0..SWEEPS {
        // The last one goes from left to right.
        let side = (sweep + 1) % 2;
        let mut columns: Vec<&Vec<usize>> = layers.columns.iter().collect();
        if side == 1 {
            columns.reverse();
        }
        for column in columns {
            let items: Vec<Item> = column
                .iter()
                .map(|vertex| {
                    let wishes = &near[*vertex][side];
                    let sum: f64 = wishes.iter().map(|(other, by)| tops[*other] + by).sum();
                    let (wish, weight) = match wishes.len() {
                        0 => (tops[*vertex], 0.1),
                        count => (sum / count as f64, count as f64),
                    };
                    Item {
                        wish,
                        height: heights[*vertex],
                        weight,
                    }
                })
                .collect();
            for (vertex, top) in column.iter().zip(place(&items)) {
                tops[*vertex] = top;
            }
        }
    }
    tops
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drawing::Caps;

    fn node(factory: &str, inputs: &[&str], outputs: &[&str]) -> Node {
        let pads = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Node {
            factory: factory.to_owned(),
            name: format!("{factory}0"),
            inputs: pads(inputs),
            outputs: pads(outputs),
            ..Node::default()
        }
    }

    fn link(from: End, to: End) -> Link {
        Link {
            from,
            to,
            caps: Some(Caps {
                lines: vec!["video/x-raw".to_owned()],
                ..Caps::default()
            }),
        }
    }

    fn pad(number: usize, name: &str) -> End {
        End::Node(number, name.to_owned())
    }

    /// A source, a tee, two encoders, a muxer; and something that stands alone.
    fn branched() -> Inside {
        Inside {
            nodes: vec![
                node("videotestsrc", &[], &["src"]),
                node("tee", &["sink"], &["src_0", "src_1"]),
                node("vp8enc", &["sink"], &["src"]),
                node("x264enc", &["sink"], &["src"]),
                node("mux", &["sink_0", "sink_1"], &[]),
                node("identity", &[], &[]),
            ],
            links: vec![
                link(pad(0, "src"), pad(1, "sink")),
                link(pad(1, "src_0"), pad(2, "sink")),
                link(pad(1, "src_1"), pad(3, "sink")),
                link(pad(2, "src"), pad(4, "sink_0")),
                link(pad(3, "src"), pad(4, "sink_1")),
            ],
        }
    }

    fn apart(a: &Block<'_>, b: &Block<'_>) -> bool {
        a.x + a.width < b.x || b.x + b.width < a.x || a.y + a.height < b.y || b.y + b.height < a.y
    }

    #[test]
    fn boxes_stand_apart_and_links_go_to_the_right() {
        let inside = branched();
        let placed = layout(&inside);
        for (number, block) in placed.blocks.iter().enumerate() {
            assert!(
                placed.blocks[..number]
                    .iter()
                    .all(|other| apart(block, other))
            );
            assert!(block.x >= 0.0 && block.x + block.width <= placed.width + 0.01);
            assert!(block.y >= 0.0 && block.y + block.height <= placed.height + 0.01);
        }
        assert_eq!(placed.wires.len(), 5);
        for wire in &placed.wires {
            assert!(
                wire.points
                    .windows(2)
                    .all(|pair| pair[0].0 <= pair[1].0 + 0.01)
            );
        }
    }

    #[test]
    fn a_chain_is_level() {
        let mut inside = branched();
        inside.links.truncate(1);
        inside.nodes.truncate(2);
        inside.nodes[1].properties.push(("a".into(), "b".into()));
        let placed = layout(&inside);
        let heights: Vec<f64> = placed.wires[0].points.iter().map(|p| p.1).collect();
        assert!(heights.iter().all(|y| (y - heights[0]).abs() < 0.01));
    }

    #[test]
    fn formats_fit_between_their_boxes() {
        let inside = branched();
        let placed = layout(&inside);
        for wire in &placed.wires {
            let (x, y) = wire.label.unwrap();
            let half = measure::caps_width(wire.link.caps.as_ref().unwrap()) / 2.0;
            let clear = |block: &Block<'_>| {
                x + half <= block.x
                    || x - half >= block.x + block.width
                    || y < block.y
                    || y > block.y + block.height
            };
            assert!(placed.blocks.iter().all(clear));
        }
    }

    #[test]
    fn what_is_in_a_bin_is_drawn_within_and_reached_through_its_pads() {
        let mut bin = node("decodebin", &["sink"], &["src_0"]);
        bin.inside = Some(Inside {
            nodes: vec![node("vp8dec", &["sink"], &["src"])],
            links: vec![
                link(End::Own("sink".into()), pad(0, "sink")),
                link(pad(0, "src"), End::Own("src_0".into())),
            ],
        });
        let inside = Inside {
            nodes: vec![node("filesrc", &[], &["src"]), bin],
            links: vec![link(pad(0, "src"), pad(1, "sink"))],
        };
        let placed = layout(&inside);
        let bin = &placed.blocks[1];
        let (x, y, within) = bin.inside.as_ref().unwrap();
        let inner = &within.blocks[0];
        assert!(x + inner.x + inner.width < bin.width && y + inner.y + inner.height < bin.height);
        let outer = placed.wires[0].points.last().unwrap();
        let first = within.wires[0].points.first().unwrap();
        assert!((outer.1 - (bin.y + y + first.1)).abs() < 0.01);
        assert!((outer.0 - (bin.x + x + first.0)).abs() < 0.01);
        let out = within.wires[1].points.last().unwrap();
        assert!((x + out.0 - bin.width).abs() < 0.01);
    }

    #[test]
    fn nothing_needs_no_room() {
        let inside = Inside::default();
        let placed = layout(&inside);
        assert_eq!((placed.width, placed.height), (0.0, 0.0));
    }
}
