//! What a drawing connects: nodes and the bin's own pads, and which of them hang together.

use super::{End, Inside};

/// Nodes and the bin's own pads, numbered together.
pub(super) struct Vertices<'a> {
    pub(super) inside: &'a Inside,
    /// Pads that data comes in by, and by which it leaves.
    ports: Vec<(&'a str, Way)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    In,
    Out,
}

impl<'a> Vertices<'a> {
    pub(super) fn of(inside: &'a Inside) -> Self {
        let mut ports = Vec::new();
        for link in &inside.links {
            for (end, way) in [(&link.from, Way::In), (&link.to, Way::Out)] {
                if let End::Own(name) = end {
                    if !ports.contains(&(name.as_str(), way)) {
                        ports.push((name.as_str(), way));
                    }
                }
            }
        }
        Self { inside, ports }
    }

    fn count(&self) -> usize {
        self.inside.nodes.len() + self.ports.len()
    }

    pub(super) fn number(&self, end: &End) -> usize {
        match end {
            End::Node(number, _) => *number,
            End::Own(name) => {
                let place = self.ports.iter().position(|(port, _)| port == name);
                self.inside.nodes.len() + place.unwrap_or_default()
            }
        }
    }

    pub(super) fn port(&self, vertex: usize) -> Option<(&'a str, Way)> {
        let place = vertex.checked_sub(self.inside.nodes.len())?;
        self.ports.get(place).copied()
    }

    /// What hangs together, in order of the first vertex.
    pub(super) fn parts(&self) -> Vec<Vec<usize>> {
        let mut part: Vec<usize> = (0..self.count()).collect();
        for link in &self.inside.links {
            let (a, b) = (part[self.number(&link.from)], part[self.number(&link.to)]);
            for one in &mut part {
                if *one == a.max(b) {
                    *one = a.min(b);
                }
            }
        }
        let heads = (0..self.count()).filter(|vertex| part[*vertex] == *vertex);
        heads
            .map(|head| (0..self.count()).filter(|v| part[*v] == head).collect())
            .collect()
    }
}
