//! Columns for the parts of a drawing: each stands to the right of all that feeds it, and few
//! lines cross.

use std::collections::HashSet;

/// A graph in columns. Its vertices are numbered; lines that cross a whole column have a further
/// vertex there, numbered after the given ones.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Layers {
    /// The vertices of each column from top to bottom.
    pub(super) columns: Vec<Vec<usize>>,
    /// The way of each line, both ends included; a line against the stream has only those.
    pub(super) ways: Vec<Vec<usize>>,
    /// How many vertices there are.
    pub(super) count: usize,
}

/// Sweeps over all columns, each a chance for crossings to vanish.
const SWEEPS: usize = 8;

/// Puts vertices into columns. The `first` ones go to the left margin, the `last` ones to the
/// right.
pub(super) fn layers(
    count: usize,
    lines: &[(usize, usize)],
    first: &[usize],
    last: &[usize],
) -> Layers {
    let backward = backward(count, lines);
    let forward = || {
        let kept = lines.iter().enumerate();
        kept.filter(|(number, _)| !backward.contains(number))
            .map(|(_, line)| *line)
    };
    let mut rank = vec![usize::from(!first.is_empty()); count];
    for vertex in first {
        rank[*vertex] = 0;
    }
    // Without circles this settles after as many rounds as the longest way has lines.
    for _ in 0..count {
        for (from, to) in forward() {
            rank[to] = rank[to].max(rank[from] + 1);
        }
    }
    // Sources stand next to what they feed.
    for vertex in (0..count).filter(|vertex| !first.contains(vertex)) {
        let fed = forward().any(|(_, to)| to == vertex);
        let next = forward().filter(|(from, _)| *from == vertex);
        if let (false, Some(next)) = (fed, next.map(|(_, to)| rank[to]).min()) {
            rank[vertex] = next.saturating_sub(1);
        }
    }
    let inner = (0..count).filter(|vertex| !last.contains(vertex));
    let deepest = inner.map(|vertex| rank[vertex]).max();
    for vertex in last {
        rank[*vertex] = deepest.map_or(0, |deepest| deepest + 1);
    }
    let mut result = Layers {
        columns: vec![Vec::new(); rank.iter().max().map_or(0, |most| most + 1)],
        ways: Vec::new(),
        count,
    };
    for (vertex, rank) in rank.iter().enumerate() {
        result.columns[*rank].push(vertex);
    }
    for (number, (from, to)) in lines.iter().enumerate() {
        let mut way = vec![*from];
        if !backward.contains(&number) {
            for column in rank[*from] + 1..rank[*to] {
                result.columns[column].push(result.count);
                way.push(result.count);
                result.count += 1;
            }
        }
        way.push(*to);
        result.ways.push(way);
    }
    result.order();
    result
}

/// How far a search has come with a vertex.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Search {
    Ahead,
    Under,
    Done,
}

/// The lines that close a circle.
fn backward(count: usize, lines: &[(usize, usize)]) -> HashSet<usize> {
    let mut state = vec![Search::Ahead; count];
    let mut found = HashSet::new();
    for vertex in 0..count {
        if state[vertex] == Search::Ahead {
            visit(vertex, lines, &mut state, &mut found);
        }
    }
    found
}

fn visit(
    vertex: usize,
    lines: &[(usize, usize)],
    state: &mut [Search],
    found: &mut HashSet<usize>,
) {
    state[vertex] = Search::Under;
    let from_here = lines.iter().enumerate();
    for (number, (_, to)) in from_here.filter(|(_, line)| line.0 == vertex) {
        match state[*to] {
            Search::Ahead => visit(*to, lines, state, found),
            Search::Under => {
                found.insert(number);
            }
            Search::Done => {}
        }
    }
    state[vertex] = Search::Done;
}

impl Layers {
    /// Orders each column by the middle of its neighbours in the one before, to and fro, and
    /// keeps the best.
    fn order(&mut self) {
        let mut best = (self.crossings(), self.columns.clone());
        for sweep in 0..SWEEPS {
            let onward = sweep % 2 == 0;
            let columns = self.columns.len();
            for step in 1..columns {
                let (column, beside) = match onward {
                    true => (step, step - 1),
                    false => (columns - 1 - step, columns - step),
                };
                self.order_column(column, beside);
            }
            let crossings = self.crossings();
            if crossings < best.0 {
                best = (crossings, self.columns.clone());
            }
        }
        self.columns = best.1;
    }

    fn order_column(&mut self, column: usize, beside: usize) {
        let places = self.places();
        let old = std::mem::take(&mut self.columns[column]);
        let mut keyed: Vec<(f64, usize)> = old
            .iter()
            .enumerate()
            .map(|(place, vertex)| {
                let near: Vec<f64> = self
                    .segments()
                    .filter_map(|(from, to)| match (from == *vertex, to == *vertex) {
                        (true, _) => Some(to),
                        (_, true) => Some(from),
                        _ => None,
                    })
                    .filter(|other| places[*other].0 == beside)
                    .map(|other| places[other].1 as f64)
                    .collect();
                let key = match near.len() {
                    0 => place as f64,
                    count => near.iter().sum::<f64>() / count as f64,
                };
                (key, *vertex)
            })
            .collect();
        // A stable sort: what does not care stays in the order of the text.
        keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
        self.columns[column] = keyed.into_iter().map(|(_, vertex)| vertex).collect();
    }

    /// Column and place in it of every vertex.
    fn places(&self) -> Vec<(usize, usize)> {
        let mut places = vec![(0, 0); self.count];
        for (column, vertices) in self.columns.iter().enumerate() {
            for (place, vertex) in vertices.iter().enumerate() {
                places[*vertex] = (column, place);
            }
        }
        places
    }

    /// The parts of all lines.
    pub(super) fn segments(&self) -> impl Iterator<Item = (usize, usize)> {
        let ways = self.ways.iter();
        ways.flat_map(|way| way.windows(2).map(|pair| (pair[0], pair[1])))
    }

    fn crossings(&self) -> usize {
        let places = self.places();
        let segments: Vec<_> = self
            .segments()
            .map(|(from, to)| (places[from], places[to]))
            .collect();
        let mut count = 0;
        for (number, (a, b)) in segments.iter().enumerate() {
            for (c, d) in &segments[number + 1..] {
                let same = a.0 == c.0 && b.0 == d.0;
                if same && (a.1 < c.1 && b.1 > d.1 || a.1 > c.1 && b.1 < d.1) {
                    count += 1;
                }
            }
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_goes_from_left_to_right() {
        let chain = layers(3, &[(2, 0), (0, 1)], &[], &[]);
        assert_eq!(chain.columns, [[2], [0], [1]]);
        assert!(layers(0, &[], &[], &[]).columns.is_empty());
    }

    #[test]
    fn long_lines_have_a_place_in_every_column() {
        let layers = layers(3, &[(0, 1), (1, 2), (0, 2)], &[], &[]);
        assert_eq!(layers.ways[2], [0, 3, 2]);
        assert_eq!(layers.columns[1].len(), 2);
    }

    #[test]
    fn crossings_vanish_where_they_can() {
        let layers = layers(6, &[(0, 5), (1, 4), (2, 3)], &[], &[]);
        assert_eq!(layers.crossings(), 0);
    }

    #[test]
    fn a_circle_ends() {
        let layers = layers(3, &[(0, 1), (1, 2), (2, 1)], &[], &[]);
        assert_eq!(layers.columns.len(), 3);
        assert_eq!(layers.ways[2], [2, 1]);
    }

    #[test]
    fn sources_stand_by_what_they_feed_and_ports_at_the_margins() {
        let late = layers(4, &[(0, 1), (1, 2), (3, 2)], &[], &[]);
        assert_eq!(late.columns[1], [1, 3]);
        let ports = layers(4, &[(2, 0), (0, 1)], &[2], &[3]);
        assert_eq!(ports.columns, [vec![2], vec![0], vec![1], vec![3]]);
    }
}
