//! What becomes of each element of a line.

use std::collections::BTreeMap;

use super::outputs::{Ending, LeftOut, State};
use crate::codec::Kind;
use crate::description::syntax::{Element, End, Graph, Link};
use crate::gst::check::{Role, decider, hands_on, role};

/// What becomes of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Kept,
    Gone,
    /// An encoder whose format browsers do not play; ours comes in its place.
    Replaced(Kind),
    /// It served an encoder that is replaced.
    Skipped,
}

/// What becomes of a line.
pub(super) struct Plan<'a> {
    pub(super) graph: &'a Graph,
    pub(super) fates: Vec<Fate>,
    pub(super) endings: Vec<Ending>,
    /// Names that would make an output of what is none, and what they become.
    pub(super) names: BTreeMap<&'a str, String>,
    pub(super) left_out: Vec<LeftOut>,
}

/// Whether an element stands for brackets.
pub(super) fn is_bin(element: &Element) -> bool {
    ["bin", "pipeline"].contains(&element.factory.text.as_str())
}

impl<'a> Plan<'a> {
    pub(super) fn of(graph: &'a Graph) -> Self {
        let elements = 0..graph.elements.len();
        let goes = |index: usize| {
            is_bin(&graph.elements[index]) || matches!(role(graph, index), Role::End(_))
        };
        let fate = |index: usize| match goes(index) {
            true => Fate::Gone,
            false => Fate::Kept,
        };
        let mut plan = Self {
            graph,
            fates: elements.map(fate).collect(),
            endings: Vec::new(),
            names: BTreeMap::new(),
            left_out: Vec::new(),
        };
        plan.spread();
        plan.replace();
        plan.find_outputs();
        plan
    }

    pub(super) fn fate(&self, index: usize) -> Fate {
        self.fates[index]
    }

    /// Whether nothing is left of what stands at an end of a link.
    pub(super) fn is_gone(&self, end: &End) -> bool {
        let index = self.graph.element_at(end);
        index.is_some_and(|index| self.fates[index] == Fate::Gone)
    }

    /// The new output behind a link, or behind an element that nothing follows.
    pub(super) fn output(
        &self,
        element: Option<usize>,
        link: Option<&Link>,
    ) -> Option<(&Ending, &str)> {
        let mut endings = self.endings.iter();
        endings.find_map(|ending| match &ending.state {
            State::Output(name)
                if ending.link.map(|link| &self.graph.links[link]) == link
                    && (link.is_some() || ending.element == element) =>
            {
                Some((ending, name.as_str()))
            }
            _ => None,
        })
    }

    /// Whether an element is a tee that was an output before.
    pub(super) fn is_present(&self, index: usize) -> bool {
        let mut endings = self.endings.iter();
        endings.any(|one| one.state == State::Present && one.element == Some(index))
    }

    /// The name of an element in the description.
    pub(super) fn named<'b>(&'b self, name: &'b str) -> &'b str {
        self.names.get(name).map_or(name, String::as_str)
    }

    /// Whether an element makes what an output carries.
    pub(super) fn makes_output(&self, index: usize) -> bool {
        let kept = self.endings.iter().filter(|e| e.state != State::Dropped);
        let mut deciders = kept.filter_map(|ending| decider(self.graph, ending.element?));
        deciders.any(|decider| decider == index)
    }

    /// What is fed by nothing but what is gone goes too, however long the row.
    fn spread(&mut self) {
        for _ in 0..self.fates.len() {
            for index in 0..self.fates.len() {
                let mut fed = self.graph.links_to(index).peekable();
                if fed.peek().is_some() && fed.all(|link| self.is_gone(&link.from)) {
                    self.fates[index] = Fate::Gone;
                }
            }
        }
    }

    /// Finds encoders that have to be others, and what served them.
    fn replace(&mut self) {
        for index in 0..self.fates.len() {
            let Role::Encoder(kind) = role(self.graph, index) else {
                continue;
            };
            let mut served = Vec::new();
            if self.fates[index] == Fate::Kept && self.leads_out(index, &mut served) {
                for parser in served {
                    self.fates[parser] = Fate::Skipped;
                }
                self.fates[index] = Fate::Replaced(kind);
            }
        }
    }

    /// Whether what an element gives is played, stored or sent as it is; finds the parsers on the
    /// way.
    fn leads_out(&self, index: usize, parsers: &mut Vec<usize>) -> bool {
        let mut ahead = vec![index];
        let mut seen = Vec::new();
        while let Some(index) = ahead.pop() {
            for link in self.graph.links_from(index) {
                let Some(next) = self.graph.element_at(&link.to) else {
                    continue;
                };
                if self.fates[next] == Fate::Gone || seen.contains(&next) {
                    continue;
                }
                seen.push(next);
                match role(self.graph, next) {
                    Role::Parser => parsers.push(next),
                    _ if hands_on(&self.graph.elements[next]) => {}
                    _ => return false,
                }
                ahead.push(next);
            }
        }
        true
    }

    /// Whether what an element gives comes from an encoder of ours.
    pub(super) fn is_anew(&self, index: usize) -> bool {
        let decider = decider(self.graph, index).map(|decider| self.fates[decider]);
        matches!(decider, Some(Fate::Replaced(_)))
    }
}
