//! How wide the columns are, and where between them formats are written.

use std::collections::HashSet;

use super::layers::Layers;
use super::{End, Link, measure};

/// Room for a line to change its height.
const BEND: f64 = 40.0;
/// Room on both sides of a format.
pub(super) const BESIDE: f64 = 16.0;

/// Which end of a link its format is written at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    From,
    To,
}

/// At the end where no other link is. A bin's own pads have it written outside.
pub(super) fn side(link: &Link, links: &[(&Link, usize, usize)]) -> Option<Side> {
    let (End::Node(from, _), End::Node(..)) = (&link.from, &link.to) else {
        return None;
    };
    let beside = links
        .iter()
        .filter(|(other, ..)| matches!(&other.from, End::Node(node, _) if node == from));
    Some(match beside.count() {
        1 => Side::From,
        _ => Side::To,
    })
}

/// Left and right edges of the columns, and what is in between.
pub(super) struct Grid {
    pub(super) left: Vec<f64>,
    pub(super) right: Vec<f64>,
    /// Right of a column and left of it: room for formats.
    room: Vec<[f64; 2]>,
}

impl Grid {
    pub(super) fn of(
        layers: &Layers,
        links: &[(&Link, usize, usize)],
        bent: &HashSet<usize>,
        width: impl Fn(usize) -> f64,
    ) -> Self {
        let mut grid = Grid {
            left: Vec::new(),
            right: Vec::new(),
            room: Vec::new(),
        };
        for column in &layers.columns {
            let mut room = [0.0_f64; 2];
            for (link, from, to) in links {
                let Some(caps) = &link.caps else { continue };
                let wanted = measure::caps_width(caps) + BESIDE;
                match side(link, links) {
                    Some(Side::From) if column.contains(from) => room[0] = room[0].max(wanted),
                    Some(Side::To) if column.contains(to) => room[1] = room[1].max(wanted),
                    _ => {}
                }
            }
            grid.room.push(room);
        }
        let mut x = 0.0;
        for (number, column) in layers.columns.iter().enumerate() {
            if number > 0 {
                let labels = grid.room[number - 1][0] + grid.room[number][1];
                x += match bent.contains(&(number - 1)) || labels == 0.0 {
                    true => labels + BEND,
                    false => labels,
                };
            }
            grid.left.push(x);
            x += column.iter().map(|v| width(*v)).fold(0.0, f64::max);
            grid.right.push(x);
        }
        grid
    }

    /// Where lines may begin to bend right of a column.
    pub(super) fn after(&self, column: usize) -> f64 {
        self.right[column] + self.room[column][0]
    }

    /// Where lines are level again left of a column.
    pub(super) fn before(&self, column: usize) -> f64 {
        self.left[column] - self.room[column][1]
    }
}
